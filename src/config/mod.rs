//! The configuration: what may be set, and how file, environment and flags become one [`Config`].
//!
//! # Layout
//! - `source`: which file; `text`: its syntax tree; `reader`: objects with known keys; `kinds`: single values;
//!   `decode`: all of it together, collecting every problem; `load`: from the disk to a [`Loaded`] configuration.
//! - [`schema`]: the same keys as a JSON Schema. Tests hold the two together.

mod decode;
mod defaults;
mod environment;
mod flags;
mod kinds;
mod load;
mod problem;
mod reader;
pub mod schema;
mod show;
mod source;
mod text;
mod url;

#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, time::Duration};

use ograph_dispatcher_actors::{
    model::{key::Projection, pointer::Pointer, receiver::ReceiverId},
    secret::Secret,
};

pub use self::{
    environment::{Environment, NotUtf8},
    flags::Flags,
    load::{LoadError, Loaded, Loader, StateDir},
    problem::{Place, Problem, Problems},
    show::{Origin, Setting},
    source::Location,
    url::SafeUrl,
};

/// The whole configuration, valid and complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where projections are read.
    pub ograph: Ograph,
    /// Projections found by themselves. Not active in this version.
    pub discovery: Option<Discovery>,
    /// Where free slots are read.
    pub oc: Oc,
    /// How often.
    pub intervals: Intervals,
    /// What counts as a change, and for whom the pace quickens.
    pub watch: Watch,
    /// The dispatch file and the `openclaw` command line.
    pub push: Push,
    /// Further receivers.
    pub agents: Vec<Agent>,
    /// The folder of the store.
    pub state_dir: PathBuf,
    /// The control server.
    pub control: Control,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Where every event is written as a line of JSON; `None` for nowhere.
    pub events_file: Option<PathBuf>,
}

/// Where projections are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ograph {
    /// The base URL of the API.
    pub endpoint: SafeUrl,
    /// The bearer token.
    pub token: Secret,
    /// What is watched; no two with the same key.
    pub projections: Vec<Projection>,
    /// For one whole exchange.
    pub timeout: Duration,
    /// How many requests may run at once.
    pub concurrency: usize,
    /// The largest answer accepted.
    pub max_body_bytes: usize,
    /// How OGraph is reached.
    pub proxy: Proxy,
}

/// How OGraph is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    FromEnvironment,
    /// Without a proxy, whatever the environment says.
    Direct,
    /// Through this `http` proxy; the URL may hold a user name and password.
    Through(SafeUrl),
}

/// Projections found by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The agent whose tasks are followed.
    pub agent_id: Id,
    /// The types of event that lead to projections.
    pub event_types: Vec<String>,
}

/// An identity that others chose: OGraph's are integers, but names are used as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// An integer.
    Number(u64),
    /// A name.
    Text(String),
}

/// Where free slots are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oc {
    /// The status URL.
    pub status_endpoint: SafeUrl,
    /// Whether somebody set it. If not, a configured gateway is asked instead.
    pub status_is_set: bool,
    /// Its bearer token.
    pub status_token: Option<Secret>,
    /// How many slots a push needs.
    pub min_available: u64,
    /// Where in the answer the free slots stand; `None` for the usual rules.
    pub available_pointer: Option<Pointer>,
    /// OpenClaw's WebSocket: free slots without a plugin.
    pub gateway: Option<Gateway>,
    /// For one whole exchange.
    pub timeout: Duration,
}

/// OpenClaw's WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `ws`, `wss`, `http` or `https`.
    pub url: SafeUrl,
    /// `gateway.auth.token` of OpenClaw.
    pub token: Secret,
}

/// How often things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between two polls of a projection while nothing changes.
    pub watcher_idle: Duration,
    /// Between two polls after a change.
    pub watcher_active: Duration,
    /// Between two looks at the free slots while nothing is pending.
    pub scheduler_idle: Duration,
    /// Between two looks while something is.
    pub scheduler_active: Duration,
    /// How long nothing is pushed after a push.
    pub cooldown_after_push: Duration,
}

/// What counts as a change, and for whom the pace quickens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which projections poll at the active pace after a change.
    pub active_scope: ActiveScope,
    /// What the first value ever seen is.
    pub first_seen: FirstSeen,
}

/// Which projections poll at the active pace after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveScope {
    /// Every one.
    All,
    /// The changed one alone.
    Projection,
}

/// What the first value ever seen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSeen {
    /// What later values are compared with; nobody is told.
    Baseline,
    /// A change.
    Change,
}

/// The receivers that are configured by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The dispatch file; `None` for none.
    pub dispatch_file: Option<PathBuf>,
    /// Its permission bits.
    pub dispatch_file_mode: u32,
    /// The `openclaw` command line.
    pub openclaw: OpenClaw,
}

/// The `openclaw` command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClaw {
    /// Whether it is called at all.
    pub enabled: bool,
    /// A name looked for in `PATH`, or an absolute path.
    pub bin: PathBuf,
    /// `--channel`.
    pub channel: Option<String>,
    /// `--target`; without one nobody is told.
    pub target: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// The template of the text.
    pub message: Option<String>,
    /// For one call.
    pub timeout: Duration,
}

/// A further receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its stable name; no two are the same.
    pub id: ReceiverId,
    /// For one attempt.
    pub timeout: Duration,
    /// What it is.
    pub kind: AgentKind,
}

/// The kinds of receiver.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentKind {
    /// OpenClaw with our plugin.
    OcPlugin {
        /// Where the document is posted.
        url: SafeUrl,
        /// The bearer token.
        secret: Secret,
        /// Sent along as `actor`.
        actor: Id,
    },
    /// Any HTTP server.
    Webhook {
        /// Where the document is posted.
        url: SafeUrl,
        /// Signs the document: `whsec_` and base64.
        secret: Option<Secret>,
    },
    /// A program that reads the document from its standard input.
    Command {
        /// A name looked for in `PATH`, or an absolute path.
        program: PathBuf,
        /// Its arguments; they may be secret.
        arguments: Vec<String>,
    },
    /// OpenClaw's WebSocket.
    OcGateway {
        /// Where, and with which token.
        gateway: Gateway,
        /// What is done with the text.
        action: GatewayAction,
        /// The template of the text.
        message: Option<String>,
    },
    /// OpenClaw's HTTP hooks.
    OcHook {
        /// The base URL of OpenClaw.
        url: SafeUrl,
        /// `hooks.token` of OpenClaw.
        token: Secret,
        /// What is done with the text.
        action: HookAction,
        /// Which agent.
        agent_id: Option<String>,
        /// The template of the text.
        message: Option<String>,
    },
}

/// What the gateway does with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayAction {
    /// Runs an agent on it.
    Agent {
        /// In which session.
        session_key: Option<String>,
        /// Waits for the end of the turn, within the timeout, and notes what came of it.
        wait: bool,
    },
    /// Sends it to a person or group.
    Send {
        /// Through which channel.
        channel: Option<String>,
        /// To whom.
        to: String,
    },
}

/// What a hook does with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// Runs an agent on it.
    Agent {
        /// In which session.
        session_key: Option<String>,
        /// Whether the agent's answer is sent on.
        deliver: Option<bool>,
        /// Through which channel.
        channel: Option<String>,
        /// To whom.
        to: Option<String>,
    },
    /// Wakes the main session.
    Wake,
}

impl AgentKind {
    /// The word for it in the file.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::OcPlugin { .. } => "oc-plugin",
            Self::Webhook { .. } => "webhook",
            Self::Command { .. } => "command",
            Self::OcGateway { .. } => "oc-gateway",
            Self::OcHook { .. } => "oc-hook",
        }
    }

    /// Where it delivers to, as far as that may be shown: arguments of a command may be secret.
    #[must_use]
    pub fn destination(&self) -> String {
        match self {
            Self::OcPlugin { url, .. } | Self::Webhook { url, .. } | Self::OcHook { url, .. } => url.to_string(),
            Self::OcGateway { gateway, .. } => gateway.url.to_string(),
            Self::Command { program, .. } => program.display().to_string(),
        }
    }
}

impl fmt::Debug for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.label(), self.destination())
    }
}

/// The control server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where it listens; `None` for not at all.
    pub listen: Option<Listen>,
    /// Its bearer token; `None` for a generated one.
    pub token: Option<Secret>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// An IP address (without brackets) or a host name.
    pub host: String,
    /// The port; 0 for any.
    pub port: u16,
}

impl Default for Listen {
    /// Where it listens if nobody says otherwise.
    fn default() -> Self {
        let (host, port) = defaults::CONTROL_LISTEN.rsplit_once(':').expect("the constant has a port");
        Self { host: host.to_owned(), port: port.parse().expect("the constant's port is a number") }
    }
}

impl Listen {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
