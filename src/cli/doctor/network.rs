//! What is checked over the network: OGraph, OpenClaw, receivers, the running daemon. Nothing is sent but questions.

use std::{io, sync::Arc, time::Duration};

use ograph_dispatcher_actors::{
    Setup,
    clock::{Clock, SystemClock},
    http::{HttpClient, Request},
    model::{availability::Free, time::Timestamp},
    source::{Observation, SourceErrorKind, Validators},
};
use tokio::{net::TcpStream, time::timeout};
use url::Url;

use super::{
    Check, Finding, Level, check,
    gateway::{self, Line},
    openclaw,
};
use crate::{
    assemble::{self, Ways},
    cli::{
        Exit,
        daemon::{Address, Daemon},
        human,
    },
    config::{Agent, AgentKind, Config, Environment, Loader, Proxy},
};

/// The time to connect to a receiver.
const CONNECT: Duration = Duration::from_secs(5);
/// A clock that is further off is worth a word: signatures and retry times depend on it.
const CLOCK_OFF: Duration = Duration::from_secs(60);
/// What names a proxy, in the order in which `curl` looks.
const PROXIES: [&str; 6] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// The checks that a valid configuration allows.
pub(super) fn checks<'c>(config: &'c Config, environment: &'c Environment) -> Vec<Check<'c>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (ways, setup) = match (assemble::ways(config, environment), assemble::setup(config, environment, &clock)) {
        (Ok(ways), Ok(setup)) => (ways, setup),
        (Err(error), _) | (_, Err(error)) => {
            let finding =
                Finding::fail("configuration", error.to_string()).remedy("correct it; nothing can be reached so");
            return vec![check(async { vec![finding] })];
        }
    };
    let setup = Arc::new(setup);
    let Ways { remote, nearby } = ways;
    let nearby = Arc::new(nearby);
    let mut checks = vec![
        check(async move { proxy(config, environment) }),
        check({
            let clock = Arc::clone(&clock);
            async move { health(config, &HttpClient::new(&remote), &*clock).await }
        }),
        check({
            let setup = Arc::clone(&setup);
            async move { vec![projection(config, &setup).await] }
        }),
        check(async move { vec![availability(config, &setup).await] }),
    ];
    let line = Line { http: Arc::clone(&nearby), clock };
    if let Some(gateway) = &config.oc.gateway {
        let line = line.clone();
        checks.push(check(async move {
            let mut findings = vec![gateway::gateway(gateway, &config.oc, &line).await];
            if config.oc.status_is_set {
                findings.extend(openclaw::status_route(&config.oc, &line.http).await);
            }
            let openclaw = &config.push.openclaw;
            if openclaw.enabled && openclaw.target.is_some() {
                findings.extend(gateway::command_channel(openclaw, gateway, &line).await);
            }
            findings
        }));
    }
    for agent in &config.agents {
        let line = line.clone();
        checks.push(check(async move { receiver(agent, environment, &line).await }));
    }
    checks
}

/// A receiver: whether it can be reached, and what it says to a question if it is OpenClaw's.
async fn receiver(Agent { id, kind, .. }: &Agent, environment: &Environment, line: &Line) -> Vec<Finding> {
    let name = format!("receiver {id}");
    let url = match kind {
        AgentKind::OcPlugin { url, .. } | AgentKind::Webhook { url, .. } | AgentKind::OcHook { url, .. } => url,
        AgentKind::OcGateway { gateway, action, .. } => return gateway::receiver(&name, gateway, action, line).await,
        // A program is looked for on this machine.
        AgentKind::Command { .. } => return Vec::new(),
    };
    let connection = connection(name.clone(), url.expose(), environment).await;
    let answer = match kind {
        _ if connection.level != Level::Ok => None,
        AgentKind::OcPlugin { secret, .. } => openclaw::plugin_route(&name, url, secret.expose(), &line.http).await,
        AgentKind::OcHook { token, action, agent_id, .. } => {
            let hook = assemble::hook(action.clone(), agent_id.clone()).url(url.expose());
            openclaw::hook(&name, &hook, token.expose(), &line.http).await
        }
        _ => None,
    };
    vec![answer.unwrap_or(connection)]
}

/// Whether a daemon runs. None is no failure.
pub(super) async fn daemon(loader: &Loader) -> Finding {
    const NAME: &str = "daemon";
    let asked = async {
        let address = Address::written(loader)?;
        let place = address.shown();
        let pid = address.local.as_ref().map(|local| local.pid);
        let status = Daemon::new(address, &loader.environment)?.get("v1/status").await?;
        Ok((place, pid, status))
    };
    match asked.await {
        Ok((place, pid, status)) => {
            let version = status.get("version").and_then(|version| version.as_str()).unwrap_or("?");
            let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
            let finding = format!("version {version} runs at {place}{pid}");
            if version == env!("CARGO_PKG_VERSION") {
                Finding::ok(NAME, finding)
            } else {
                let message = format!("{finding}, but this program is version {}", env!("CARGO_PKG_VERSION"));
                Finding::warn(NAME, message).remedy("restart the daemon")
            }
        }
        Err(error) => not_running(NAME, &error),
    }
}

fn not_running(name: &str, error: &crate::cli::daemon::CallError) -> Finding {
    if error.exit == Exit::NoDaemon {
        let why = error.to_string();
        return Finding::ok(
            name,
            format!("not running: {}", why.strip_prefix("no daemon is reachable: ").unwrap_or(&why)),
        );
    }
    Finding::fail(name, error.to_string()).remedy("restart the daemon")
}

/// Which proxies are in force; their credentials are not shown.
fn proxy(config: &Config, environment: &Environment) -> Vec<Finding> {
    const NAME: &str = "proxy";
    let message = match &config.ograph.proxy {
        Proxy::Direct => "none: ograph.proxy is null".to_owned(),
        Proxy::Through(url) => format!("OGraph is reached through {url}, as ograph.proxy says"),
        Proxy::FromEnvironment => {
            let set: Vec<_> = PROXIES.into_iter().filter(|name| is_set(environment, name)).collect();
            if set.is_empty() {
                "none".to_owned()
            } else {
                format!("as {} say; never for this machine", set.join(", "))
            }
        }
    };
    vec![Finding::ok(NAME, message)]
}

fn is_set(environment: &Environment, name: &str) -> bool {
    matches!(environment.variable(name), Ok(Some(_)))
}

/// `/health` of OGraph, and its clock.
async fn health(config: &Config, http: &HttpClient, clock: &dyn Clock) -> Vec<Finding> {
    const NAME: &str = "ograph";
    let mut url = config.ograph.endpoint.expose().clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push("health");
    }
    let place = config.ograph.endpoint.to_string();
    let request = Request { timeout: config.ograph.timeout, ..Request::get(&url) };
    let answer = match http.send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![
                Finding::fail(NAME, format!("{place}: {error}"))
                    .remedy("check ograph.endpoint, the network and the proxy"),
            ];
        }
    };
    let is_page = answer.body.trim_ascii_start().starts_with(b"<");
    let first = if !answer.is_success() {
        Finding::fail(NAME, format!("{place}: /health answered {}", answer.status)).remedy("check ograph.endpoint")
    } else if is_page {
        Finding::fail(NAME, format!("{place}: /health answered a web page"))
            .remedy("a captive portal, or ograph.endpoint is not the API's")
    } else {
        Finding::ok(NAME, format!("{place} is healthy"))
    };
    let clock = answer.date.as_deref().and_then(|date| clock_off(date, clock.now().wall));
    std::iter::once(first).chain(clock).collect()
}

/// Compares the clocks; `None` if the date cannot be read.
fn clock_off(date: &str, now: Timestamp) -> Option<Finding> {
    const NAME: &str = "clock";
    let theirs = Timestamp::from(jiff::fmt::rfc2822::parse(date).ok()?.timestamp());
    let (ahead, behind) = (now.since(theirs), theirs.since(now));
    let (off, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    Some(if off > CLOCK_OFF {
        let message = format!("this machine is {} {word} OGraph", human::duration(off));
        Finding::warn(NAME, message).remedy("let NTP set the clock: webhook signatures and retry times depend on it")
    } else {
        Finding::ok(NAME, "agrees with OGraph's")
    })
}

/// One projection, as the daemon would poll it: shows whether the token is accepted.
async fn projection(config: &Config, setup: &Setup) -> Finding {
    const NAME: &str = "projection";
    let Some(projection) = config.ograph.projections.first() else {
        return Finding::warn(NAME, "none is configured, so the token was not tried")
            .remedy("name at least one in ograph.projections");
    };
    let source = (setup.source)();
    let key = &projection.key;
    match source.observe(projection, &Validators::default()).await {
        Ok(Observation::Present { .. } | Observation::Unchanged) => {
            Finding::ok(NAME, format!("{key} can be read; the token is accepted"))
        }
        Ok(Observation::Absent) => Finding::warn(NAME, format!("OGraph knows no {key} (yet); the token is accepted"))
            .remedy("check its name and parameters in ograph.projections"),
        Err(error) => {
            let remedy = match error.kind {
                SourceErrorKind::Unauthorized => "set ograph.token (OGRAPH_TOKEN) to a valid token",
                SourceErrorKind::RateLimited => "longer intervals.watcherIdle, or fewer projections",
                SourceErrorKind::TooLarge => "a larger ograph.maxBodyBytes, or a smaller projection",
                SourceErrorKind::NotJson => "check ograph.endpoint and the projection's valuePointer",
                SourceErrorKind::Timeout => "a longer ograph.timeout, if OGraph is slow",
                SourceErrorKind::Server => "try again later; the daemon does so by itself",
                SourceErrorKind::Transport | SourceErrorKind::Redirect | SourceErrorKind::Internal => {
                    "check ograph.endpoint, the network and the proxy"
                }
            };
            Finding::fail(NAME, format!("{key}: {error}")).remedy(remedy)
        }
    }
}

/// The free slots, as the daemon would ask for them.
async fn availability(config: &Config, setup: &Setup) -> Finding {
    const NAME: &str = "availability";
    let needed = config.oc.min_available;
    let (endpoint, by) = match (&config.oc.gateway, &config.oc.available_pointer) {
        (Some(gateway), _) if !config.oc.status_is_set => (&gateway.url, "by lanes and sessions".to_owned()),
        (_, Some(pointer)) => (&config.oc.status_endpoint, format!("at oc.availablePointer {:?}", pointer.as_str())),
        (_, None) => (&config.oc.status_endpoint, "by the usual rules".to_owned()),
    };
    let availability = (setup.availability)();
    match availability.free().await {
        Ok(free) => {
            let read = match free {
                Free::Slots(slots) => human::count(slots, "free slot"),
                Free::Room(true) => "\"there is room\"".to_owned(),
                Free::Room(false) => "\"there is no room\"".to_owned(),
            };
            let so = if free.is_enough(needed) { "a push would go out" } else { "a push would wait" };
            Finding::ok(NAME, format!("{endpoint} is read, {by}, as {read}; {needed} needed, so {so}"))
        }
        Err(error) => Finding::fail(NAME, error.to_string()).remedy(openclaw::availability_remedy(&error, config)),
    }
}

/// Whether a receiver's address can be connected to; nothing is sent.
async fn connection(name: String, url: &Url, environment: &Environment) -> Finding {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    // `ws` and `wss` have their ports as well.
    let port = url.port_or_known_default().unwrap_or(80);
    let place = format!("{host}:{port}");
    let why = match timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => return Finding::ok(name, format!("{place} accepts connections; nothing was delivered")),
        Ok(Err(error)) => io_words(&error),
        Err(_) => format!("no connection within {} s", CONNECT.as_secs()),
    };
    let has_proxy = PROXIES.into_iter().any(|proxy| is_set(environment, proxy));
    if has_proxy {
        return Finding::warn(name, format!("{place} cannot be reached directly ({why}); not tried through the proxy"));
    }
    Finding::fail(name, format!("{place}: {why}")).remedy("check its url, and that it runs; changes for it are kept")
}

/// An error without its number.
fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_reported() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (date, level, message) in [
            ("Sun, 22 Nov 2026 12:00:00 GMT", Level::Ok, "agrees with OGraph's"),
            ("Sun, 22 Nov 2026 11:59:01 GMT", Level::Ok, "agrees with OGraph's"),
            ("Sun, 22 Nov 2026 11:57:55 GMT", Level::Warn, "this machine is 2 min 5 s ahead of OGraph"),
            ("Sun, 22 Nov 2026 13:00:00 GMT", Level::Warn, "this machine is 1 h behind OGraph"),
        ] {
            let finding = clock_off(date, now).unwrap();
            assert_eq!((finding.level, finding.message.as_str()), (level, message), "{date}");
        }
        for date in ["", "soon", "2026-11-22T12:00:00Z"] {
            assert!(clock_off(date, now).is_none(), "{date}");
        }
    }
}
