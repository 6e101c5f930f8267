//! From a configuration to the parts of the actor system.

use std::{path::PathBuf, sync::Arc};

use ograph_dispatcher_actors::{
    AvailabilityFactory, Settings, Setup,
    clock::Clock,
    http::{HttpClient, HttpOptions, InvalidProxy, ProxyRules, Roots},
    ograph::{OGraphOptions, OGraphSource},
    openclaw::{Gateway, GatewayAvailability, GatewayOptions, StatusEndpoint, StatusOptions, StatusOrGateway},
    receivers::{
        Command, DispatchFile, GatewayAction, HookAction, InvalidWebhookSecret, OcGateway, OcHook, OcPlugin,
        OpenClawCli, OpenClawOptions, Webhook, WebhookSecret,
    },
    settings::{ActiveScope, FirstSeen, ScheduleSettings, WatchSettings},
};

use serde_json::Value;

use crate::config::{self, Agent, AgentKind, Config, Environment, Id, Proxy};

/// Why a valid configuration makes no setup: what only its user can tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssembleError {
    /// A proxy from the configuration or the environment.
    #[error("the proxy for OGraph: {0}")]
    Proxy(#[from] InvalidProxy),
    /// A webhook's secret.
    #[error("the secret of {receiver}: {error}")]
    Secret {
        /// Whose.
        receiver: String,
        /// What is wrong.
        #[source]
        error: InvalidWebhookSecret,
    },
}

/// How servers are reached.
pub(crate) struct Ways {
    /// OGraph.
    pub(crate) remote: HttpOptions,
    /// OpenClaw and the receivers.
    pub(crate) nearby: HttpOptions,
}

/// The ways that `config` and the proxies of the environment describe.
pub(crate) fn ways(config: &Config, environment: &Environment) -> Result<Ways, AssembleError> {
    let of_environment = ProxyRules::from_vars(|name| environment.variable(name).ok().flatten().map(str::to_owned))?;
    let roots = Roots::default();
    let remote = HttpOptions {
        proxy: match &config.ograph.proxy {
            Proxy::FromEnvironment => of_environment.clone(),
            Proxy::Direct => ProxyRules::default(),
            Proxy::Through(url) => ProxyRules::all(url.expose().as_str())?,
        },
        roots: roots.clone(),
        max_connections: config.ograph.concurrency,
        keep_alive: keep_alive(config.intervals.watcher_idle),
        ..HttpOptions::default()
    };
    // OpenClaw and its plugins are neighbours: nobody wants to reach them through a proxy.
    let nearby = HttpOptions {
        proxy: of_environment.except_loopback(),
        roots,
        keep_alive: keep_alive(config.intervals.scheduler_idle),
        ..HttpOptions::default()
    };
    Ok(Ways { remote, nearby })
}

/// The setup that `config` describes.
pub(crate) fn setup(
    config: &Config,
    environment: &Environment,
    clock: &Arc<dyn Clock>,
) -> Result<Setup, AssembleError> {
    let Ways { remote, nearby } = ways(config, environment)?;
    let source = OGraphOptions {
        endpoint: config.ograph.endpoint.expose().clone(),
        token: config.ograph.token.clone(),
        timeout: config.ograph.timeout,
        max_body: config.ograph.max_body_bytes,
    };
    let source_clock = Arc::clone(clock);
    let mut setup = Setup {
        settings: settings(config),
        source: Arc::new(move || {
            Box::new(OGraphSource::new(HttpClient::new(&remote), Arc::clone(&source_clock), source.clone()))
        }),
        availability: availability(config, nearby.clone(), clock),
        receivers: Vec::new(),
    };
    setup = push_receivers(setup, config);
    for agent in &config.agents {
        setup = agent_receiver(setup, agent, config, &nearby, clock)?;
    }
    Ok(setup)
}

/// Who is asked for free slots: the status route if it is configured; else the gateway, if that is; and the gateway
/// also where OpenClaw lacks the route.
fn availability(config: &Config, http: HttpOptions, clock: &Arc<dyn Clock>) -> AvailabilityFactory {
    let status = StatusOptions {
        url: config.oc.status_endpoint.expose().clone(),
        token: config.oc.status_token.clone(),
        pointer: config.oc.available_pointer.clone(),
        timeout: config.oc.timeout,
    };
    let (gateway, status_is_set) = (config.oc.gateway.clone(), config.oc.status_is_set);
    let (timeout, clock) = (config.oc.timeout, Arc::clone(clock));
    Arc::new(move || {
        let route = || StatusEndpoint::new(HttpClient::new(&http), Arc::clone(&clock), status.clone());
        match &gateway {
            None => Box::new(route()),
            Some(gateway) => {
                let gateway = GatewayAvailability::new(connect(gateway, &http, &clock), timeout);
                if status_is_set {
                    Box::new(StatusOrGateway::new(route(), gateway, Arc::clone(&clock)))
                } else {
                    Box::new(gateway)
                }
            }
        }
    })
}

/// The connection to a gateway that everybody on this thread shares.
pub(crate) fn connect(gateway: &config::Gateway, http: &HttpOptions, clock: &Arc<dyn Clock>) -> Gateway {
    let options = GatewayOptions::new(gateway.url.expose().clone(), gateway.token.clone());
    Gateway::shared(HttpClient::new(http), Arc::clone(clock), options)
}

/// What an `oc-hook` receiver does.
pub(crate) fn hook(action: config::HookAction, agent_id: Option<String>) -> HookAction {
    match action {
        config::HookAction::Agent { session_key, deliver, channel, to } => {
            HookAction::Agent { agent_id, session_key, deliver, channel, to }
        }
        config::HookAction::Wake => HookAction::Wake { agent_id },
    }
}

/// Long enough that the next poll finds the connection open.
fn keep_alive(interval: std::time::Duration) -> std::time::Duration {
    HttpOptions::default().keep_alive.max(interval.saturating_mul(2))
}

fn settings(config: &Config) -> Settings {
    let intervals = config.intervals;
    Settings {
        projections: config.ograph.projections.clone(),
        watch: WatchSettings {
            idle: intervals.watcher_idle,
            active: intervals.watcher_active,
            active_scope: match config.watch.active_scope {
                config::ActiveScope::All => ActiveScope::All,
                config::ActiveScope::Projection => ActiveScope::Projection,
            },
            first_seen: match config.watch.first_seen {
                config::FirstSeen::Baseline => FirstSeen::Baseline,
                config::FirstSeen::Change => FirstSeen::Change,
            },
            concurrency: config.ograph.concurrency,
        },
        schedule: ScheduleSettings {
            idle: intervals.scheduler_idle,
            active: intervals.scheduler_active,
            cooldown: intervals.cooldown_after_push,
            min_available: config.oc.min_available,
        },
    }
}

/// The dispatch file and the `openclaw` command line.
fn push_receivers(mut setup: Setup, config: &Config) -> Setup {
    let file: Option<PathBuf> = config.push.dispatch_file.clone();
    if let Some(path) = file.clone() {
        let mode = config.push.dispatch_file_mode;
        setup = setup.receiver(move || DispatchFile::new(path.clone(), mode));
    }
    let openclaw = &config.push.openclaw;
    if openclaw.enabled {
        let options = OpenClawOptions {
            bin: openclaw.bin.clone().into(),
            channel: openclaw.channel.clone(),
            target: openclaw.target.clone(),
            account: openclaw.account.clone(),
            message: openclaw.message.clone(),
            timeout: openclaw.timeout,
        };
        setup = setup.receiver(move || OpenClawCli::new(options.clone(), file.clone()));
    }
    setup
}

fn agent_receiver(
    setup: Setup,
    agent: &Agent,
    config: &Config,
    http: &HttpOptions,
    clock: &Arc<dyn Clock>,
) -> Result<Setup, AssembleError> {
    let Agent { id, timeout, kind } = agent.clone();
    let (http, clock) = (http.clone(), Arc::clone(clock));
    let file = config.push.dispatch_file.clone();
    Ok(match kind {
        AgentKind::OcPlugin { url, secret, actor } => setup.receiver(move || {
            let http = HttpClient::new(&http);
            let actor = match &actor {
                Id::Number(number) => Value::from(*number),
                Id::Text(text) => Value::from(text.as_str()),
            };
            OcPlugin::new(id.clone(), url.expose().clone(), secret.clone(), actor, http, Arc::clone(&clock), timeout)
        }),
        AgentKind::Webhook { url, secret } => {
            let secret = secret
                .map(|secret| secret.expose().parse::<WebhookSecret>())
                .transpose()
                .map_err(|error| AssembleError::Secret { receiver: id.to_string(), error })?;
            setup.receiver(move || {
                let http = HttpClient::new(&http);
                Webhook::new(id.clone(), url.expose().clone(), secret.clone(), http, Arc::clone(&clock), timeout)
            })
        }
        AgentKind::Command { program, arguments } => setup.receiver(move || {
            let argv = std::iter::once(program.clone().into_os_string()).chain(arguments.iter().map(Into::into));
            Command::new(id.clone(), argv, timeout)
        }),
        AgentKind::OcGateway { gateway, action, message } => {
            let action = match action {
                config::GatewayAction::Agent { session_key, wait } => GatewayAction::Agent { session_key, wait },
                config::GatewayAction::Send { channel, to } => GatewayAction::Send { channel, to },
            };
            setup.receiver(move || {
                let gateway = connect(&gateway, &http, &clock);
                OcGateway::new(id.clone(), gateway, action.clone(), file.clone(), message.clone(), timeout)
            })
        }
        AgentKind::OcHook { url, token, action, agent_id, message } => {
            let action = hook(action, agent_id);
            let gateway = config.oc.gateway.clone();
            setup.receiver(move || {
                let receiver = OcHook::new(
                    id.clone(),
                    url.expose(),
                    token.clone(),
                    action.clone(),
                    file.clone(),
                    message.clone(),
                    HttpClient::new(&http),
                    Arc::clone(&clock),
                    timeout,
                );
                match &gateway {
                    Some(gateway) => receiver.reserving_at(connect(gateway, &http, &clock)),
                    None => receiver,
                }
            })
        }
    })
}
