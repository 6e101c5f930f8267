//! The running daemon as the commands see it: where it is, what it is asked, and what its refusals mean.

use std::{fs, future::Future, io, path::PathBuf, time::Duration};

use actix_rt::System;
use clap::Args;
use ograph_dispatcher_actors::{
    http::{Answer, HttpClient, HttpOptions, Method, ProxyRules, Request},
    secret::Secret,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{Exit, output::harmless};
use crate::config::{Environment, Flags, Loader};

/// For an answer from a published snapshot.
const READ: Duration = Duration::from_secs(10);
/// For an order: a flush polls everything and waits for every receiver.
const ORDER: Duration = Duration::from_secs(300);
/// The largest answer that is read, in bytes: pending changes come with their values.
const MAX_BODY: usize = 256 * 1024 * 1024;
/// The file in which a daemon says where it is, in its state folder.
const CONTROL_FILE: &str = "control.json";
const URL: &str = "OGRAPH_CONTROL_URL";
const TOKEN: &str = "OGRAPH_CONTROL_TOKEN";

/// Which daemon is meant.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which daemon (by default the one of this user)")]
pub(super) struct DaemonArgs {
    /// The configuration file it runs with; only its state folder is read [env: OGRAPH_CONFIG_FILE]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its state folder, where it wrote its address and token [env: OGRAPH_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Its address, e.g. http://127.0.0.1:18791; the token is read from OGRAPH_CONTROL_TOKEN [env: OGRAPH_CONTROL_URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl DaemonArgs {
    /// The flags that name a configuration; what the user wrote before the command counts, too.
    pub(super) fn loader(&self, flags: Flags, environment: Environment) -> Loader {
        let own = Flags::new(self.config.clone()).with("--state-dir", self.state_dir.clone());
        Loader { environment, flags: flags.overlaid(own) }
    }
}

/// Why the daemon did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct CallError {
    /// What that means for the caller.
    pub(super) exit: Exit,
    /// In words; one line, and one more for each error in a configuration.
    pub(super) message: String,
    /// The daemon's own words, as `application/problem+json`.
    pub(super) problem: Option<Value>,
}

impl CallError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), problem: None }
    }
}

/// Where a daemon is, and what it demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: Url,
    pub(super) token: Option<Secret>,
    /// What it wrote itself: its process and the state folder; `None` if only the URL is known.
    pub(super) local: Option<Local>,
}

/// A daemon on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) pid: u32,
    pub(super) state_dir: PathBuf,
}

/// The file as the daemon writes it.
#[derive(Deserialize)]
struct ControlFile {
    pid: u32,
    url: String,
    token: Option<String>,
}

impl Address {
    /// Finds the daemon: by `--url` or its variable, else by what it wrote into its state folder.
    pub(super) fn find(args: &DaemonArgs, loader: &Loader) -> Result<Self, CallError> {
        let usage = |message: String| CallError::new(Exit::Usage, message);
        let variable = |name: &str| loader.environment.variable(name).map_err(|error| usage(format!("{name} {error}")));
        let named = match &args.url {
            Some(url) => Some((url.as_str(), "--url")),
            // Flags are nearer than the variable.
            None if loader.flags.name_a_daemon() => None,
            None => variable(URL)?.map(|url| (url, URL)),
        };
        let Some((text, place)) = named else { return Self::written(loader) };
        let url = parse(text).map_err(|message| usage(format!("{place} {message}")))?;
        let token = match variable(TOKEN)? {
            Some(token) => Some(Secret::new(token)),
            // The token of our own daemon goes to nobody else.
            None => Self::written(loader).ok().filter(|ours| ours.url.origin() == url.origin()).and_then(|o| o.token),
        };
        Ok(Self { url, token, local: None })
    }

    /// What a running daemon wrote into its state folder.
    pub(super) fn written(loader: &Loader) -> Result<Self, CallError> {
        let found = loader.state_dir().map_err(|error| CallError::new(Exit::Usage, error.to_string()))?;
        let file = found.path.join(CONTROL_FILE);
        let guess = found.problem.map_or_else(String::new, |problem| {
            format!("; the configuration cannot be read ({problem}), so this is only the default folder")
        });
        let no_daemon = |what: &str| {
            CallError::new(Exit::NoDaemon, format!("no daemon is reachable: {} {what}{guess}", file.display()))
        };
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_daemon(
                    "does not exist; start one with `ograph-dispatcher run`, or name another state folder with --state-dir",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let message = format!(
                    "{} is for the daemon's own user alone; become that user, or set {URL} and {TOKEN}",
                    file.display()
                );
                return Err(CallError::new(Exit::Refused, message));
            }
            Err(error) => return Err(no_daemon(&format!("cannot be read: {error}"))),
        };
        // The error could quote the token.
        let written = serde_json::from_slice::<ControlFile>(&text).ok();
        let Some((ControlFile { pid, token, .. }, url)) =
            written.and_then(|written| parse(&written.url).ok().map(|url| (written, url)))
        else {
            return Err(no_daemon("is not what a daemon writes; restart the daemon"));
        };
        if !lives(pid) {
            return Err(no_daemon(&format!(
                "was left behind by process {pid}, which has ended; start the daemon with `ograph-dispatcher run`"
            )));
        }
        Ok(Self { url, token: token.map(Secret::new), local: Some(Local { pid, state_dir: found.path }) })
    }

    /// The URL without anything secret.
    pub(super) fn shown(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

fn parse(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL that starts with http:// or https://")?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
        return Err("must be a URL that starts with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must be an address alone; the token belongs into OGRAPH_CONTROL_TOKEN");
    }
    Ok(url)
}

/// Whether there is a process with this id; also one that belongs to somebody else.
#[cfg(unix)]
fn lives(pid: u32) -> bool {
    use rustix::{io::Errno, process};
    i32::try_from(pid)
        .ok()
        .and_then(process::Pid::from_raw)
        .is_some_and(|pid| process::test_kill_process(pid).map_or_else(|error| error == Errno::PERM, |()| true))
}

/// The connection will tell.
#[cfg(not(unix))]
fn lives(_: u32) -> bool {
    true
}

/// Runs a command that talks.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    System::new().block_on(work)
}

/// A daemon that can be asked.
pub(super) struct Daemon {
    pub(super) address: Address,
    http: HttpClient,
    authorization: Option<Secret>,
}

impl Daemon {
    /// Opens nothing yet. Belongs to the system it is made in.
    pub(super) fn new(address: Address, environment: &Environment) -> Result<Self, CallError> {
        let lookup = |name: &str| environment.variable(name).ok().flatten().map(str::to_owned);
        let proxy = ProxyRules::from_vars(lookup).map_err(|error| CallError::new(Exit::Usage, error.to_string()))?;
        let options = HttpOptions { proxy: proxy.except_loopback(), ..HttpOptions::default() };
        let authorization = address.token.as_ref().map(|token| Secret::new(format!("Bearer {}", token.expose())));
        Ok(Self { address, http: HttpClient::new(&options), authorization })
    }

    /// Finds the daemon that `args` name.
    pub(super) fn find(args: &DaemonArgs, flags: Flags, environment: Environment) -> Result<Self, CallError> {
        Self::named(args, &args.loader(flags, environment))
    }

    /// The same with a loader of its own.
    pub(super) fn named(args: &DaemonArgs, loader: &Loader) -> Result<Self, CallError> {
        Self::new(Address::find(args, loader)?, &loader.environment)
    }

    /// Reads, e.g. `v1/status`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        let url = self.url(path);
        self.send(Request { timeout: READ, ..Request::get(&url) }).await
    }

    /// Gives an order, e.g. `v1/poll`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        let url = self.url(path);
        self.send(Request { timeout: ORDER, ..Request::post(&url, body.to_string().into_bytes()) }).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.address.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    async fn send(&self, request: Request<'_>) -> Result<Value, CallError> {
        let mut headers = vec![("accept", "application/json, application/problem+json")];
        headers.extend(self.authorization.as_ref().map(|authorization| ("authorization", authorization.expose())));
        if request.method == Method::Post {
            headers.push(("content-type", "application/json"));
        }
        let request = Request { headers: &headers, max_body: MAX_BODY, redirects: false, ..request };
        let place = self.address.shown();
        match self.http.send(request).await {
            Ok(answer) if answer.is_success() => {
                let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
                serde_json::from_slice(body).map_err(|_| self.stranger())
            }
            Ok(answer) => Err(self.refused(&answer)),
            Err(error) if error.sent => Err(CallError::new(Exit::Failed, format!("{place}: {error}"))),
            Err(error) => {
                let left = self.address.local.as_ref().map_or_else(String::new, |local| {
                    format!("; process {} runs, but {CONTROL_FILE} may be older than it", local.pid)
                });
                Err(CallError::new(Exit::NoDaemon, format!("no daemon is reachable: {place}: {error}{left}")))
            }
        }
    }

    /// What an answer that is no success means.
    fn refused(&self, answer: &Answer) -> CallError {
        let place = self.address.shown();
        let problem: Option<Value> = serde_json::from_slice(&answer.body).ok().filter(Value::is_object);
        let text = |name: &str| problem.as_ref()?.get(name)?.as_str().map(harmless);
        let words =
            text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("it answered {}", answer.status));
        let (exit, message) = match answer.status {
            401 | 403 if self.authorization.is_none() => {
                (Exit::Refused, format!("{place} demands a token; set {TOKEN}"))
            }
            401 | 403 if self.address.local.is_some() => {
                (Exit::Refused, format!("{place} refuses the token in {CONTROL_FILE}: {words}; restart the daemon"))
            }
            401 | 403 => (Exit::Refused, format!("{place} refuses the token: {words}; check {TOKEN}")),
            409 => (Exit::Refused, words),
            421 => (Exit::Refused, format!("{place} does not answer to this name: {words}; use the daemon's address")),
            400 | 422 => (Exit::Usage, words),
            404 | 405 if problem.is_none() => return self.stranger(),
            404 | 405 => (Exit::Failed, format!("{place} does not know this call: {words}; is the daemon older?")),
            _ => (Exit::Failed, format!("{place}: {words}")),
        };
        let errors = problem.as_ref().and_then(|problem| problem.get("errors")?.as_array());
        let lines = errors.into_iter().flatten().map(|error| format!("\n  {}", error_line(error)));
        CallError { exit, message: lines.fold(message, |message, line| message + &line), problem }
    }

    fn stranger(&self) -> CallError {
        let message = format!("{}: something answers there, but it is no ograph-dispatcher", self.address.shown());
        CallError::new(Exit::Failed, message)
    }
}

/// An error in a configuration, as `check` writes it.
pub(super) fn error_line(error: &Value) -> String {
    if let Some(text) = error.as_str() {
        return harmless(text);
    }
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let number = |name: &str| error.get(name).and_then(Value::as_u64);
    let mut place = text("file").or_else(|| text("variable")).or_else(|| text("flag")).unwrap_or_default().to_owned();
    for part in ["line", "column"].into_iter().filter_map(number) {
        place.push_str(&format!(":{part}"));
    }
    let parts = [place.as_str(), text("path").unwrap_or_default(), text("message").unwrap_or_default()];
    harmless(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
}

/// What a command reads out of an answer.
pub(super) fn understood<T: DeserializeOwned>(answer: &Value) -> Result<T, CallError> {
    T::deserialize(answer).map_err(|error| {
        let message = format!(
            "the daemon's answer is not understood ({error}); is it of another version? --json shows the answer itself"
        );
        CallError::new(Exit::Failed, message)
    })
}

#[cfg(test)]
mod tests;
