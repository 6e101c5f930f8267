//! From file, variables and flags to a [`Config`], with every problem on the way.

mod agents;
mod projections;

use std::{path::PathBuf, time::Duration};

use ograph_dispatcher_actors::secret::Secret;
use serde_json::json;

use super::{
    Config, Control, Discovery, Flags, Gateway, Intervals, Listen, LogFormat, Oc, Ograph, OpenClaw, Origin, Place,
    Problem, Proxy, Push, SafeUrl, Watch, defaults,
    kinds::{self, Choice, Mode, Scope, nullable},
    reader::{Findings, Key, Object, Reader},
    show::Show as _,
    text::FileText,
};

/// Reads everything. The configuration is there if there are no errors.
pub(super) fn decode(file: Option<&FileText<'_>>, scope: Scope<'_>, flags: &Flags) -> (Option<Config>, Findings) {
    let tree = match file.map(FileText::parse).transpose() {
        Ok(tree) => tree,
        Err(problem) => {
            let mut findings = Findings::default();
            findings.problems.errors.push(problem);
            return (None, findings);
        }
    };
    let reader = Reader::new(scope, flags, file.cloned());
    let config = root(&reader, reader.root(tree.as_ref()));
    let mut findings = reader.finish();
    if let (Some(file), Some(tree)) = (file, &tree) {
        findings.problems.errors.extend(file.duplicates(tree));
    }
    findings.problems = findings.problems.sorted();
    (config.filter(|_| findings.problems.errors.is_empty()), findings)
}

/// Reads the state folder alone, whatever else is wrong. Also says what is wrong about the folder or the whole file.
pub(super) fn decode_state_dir(
    file: Option<&FileText<'_>>,
    scope: Scope<'_>,
    flags: &Flags,
) -> (Option<PathBuf>, Option<Problem>) {
    let (tree, broken) = match file.map(FileText::parse).transpose() {
        Ok(tree) => (tree, None),
        Err(problem) => (None, Some(problem)),
    };
    let reader = Reader::new(scope, flags, file.cloned());
    let found = state_dir(&reader, reader.root(tree.as_ref()).object("state"));
    (found, broken.or_else(|| reader.finish().problems.errors.into_iter().next()))
}

fn root(reader: &Reader<'_>, mut root: Object<'_>) -> Option<Config> {
    // For editors, which find the schema by it.
    root.node("$schema").map(|node| node.read(reader, kinds::line));
    let ograph = ograph(reader, root.object("ograph"));
    let discovery = root.optional_object("discovery").map(|object| discovery(reader, object));
    let oc = oc(reader, root.object("oc"));
    let intervals = intervals(reader, root.object("intervals"));
    let mut watch = root.object("watch");
    let watch = Watch {
        active_scope: watch.get_or("activeScope", word(defaults::ACTIVE_SCOPE), kinds::choice),
        first_seen: watch.get_or("firstSeen", word(defaults::FIRST_SEEN), kinds::choice),
    };
    let push = push(reader, root.object("push"));
    let agents = agents::agents(reader, root.node("agents"));
    let state_dir = state_dir(reader, root.object("state"));
    let control = control(reader, root.object("control"));
    let mut log = root.object("log");
    let log_format: LogFormat = log.get_or(
        Key::new("format").variable("OGRAPH_LOG_FORMAT").flag("--log-format"),
        word(defaults::LOG_FORMAT),
        kinds::choice,
    );
    let events_file = log.get_or("eventsFile", None, kinds::path_or_off);
    let config = Config {
        ograph: ograph?,
        discovery: discovery.flatten(),
        oc: oc?,
        intervals,
        watch,
        push,
        agents,
        state_dir: state_dir?,
        control,
        log_format,
        events_file,
    };
    if !has_receiver(&config) {
        reader.warning(
            reader.nowhere(),
            "",
            "nobody will ever be told: there is no dispatch file, no `push.openclaw.target` and no agent",
        );
    }
    Some(config)
}

fn has_receiver(config: &Config) -> bool {
    config.push.dispatch_file.is_some()
        || (config.push.openclaw.enabled && config.push.openclaw.target.is_some())
        || !config.agents.is_empty()
}

fn ograph(reader: &Reader<'_>, mut ograph: Object<'_>) -> Option<Ograph> {
    let endpoint =
        ograph.required(Key::new("endpoint").variable("OGRAPH_ENDPOINT").flag("--endpoint"), kinds::base_url);
    ograph.is_secret("token");
    let token = ograph.required(Key::new("token").variable("OGRAPH_TOKEN").flag("--token-file"), kinds::secret);
    let projections = projections::projections(reader, &mut ograph);
    let timeout = ograph.get_or("timeout", Duration::from_millis(defaults::OGRAPH_TIMEOUT), kinds::millis);
    let concurrency =
        ograph.get_or("concurrency", limit(defaults::OGRAPH_CONCURRENCY), kinds::size(1, defaults::MAX_CONCURRENCY));
    let max_body_bytes =
        ograph.get_or("maxBodyBytes", limit(defaults::OGRAPH_MAX_BODY_BYTES), kinds::size(1, defaults::MAX_BODY_BYTES));
    let proxy = ograph.get_or("proxy", Proxy::FromEnvironment, kinds::proxy);
    Some(Ograph { endpoint: endpoint?, token: token?, projections, timeout, concurrency, max_body_bytes, proxy })
}

fn discovery(reader: &Reader<'_>, mut discovery: Object<'_>) -> Option<Discovery> {
    inactive(reader, &discovery.place(), discovery.own_path(), "projections are not found by themselves");
    let agent_id = discovery.required("agentId", kinds::id);
    let event_types = discovery.node("eventTypes").map(|types| {
        let elements = types.elements(reader).unwrap_or_default();
        let read: Vec<_> = elements.iter().filter_map(|element| element.read(reader, kinds::line)).collect();
        reader.record(&types.path, json!(read), Origin::Set(reader.place(types.value)));
        read
    });
    Some(Discovery { agent_id: agent_id?, event_types: event_types.unwrap_or_default() })
}

/// Says that something is valid but does nothing yet.
fn inactive(reader: &Reader<'_>, place: &Place, path: &str, so: &str) {
    reader.warning(place.clone(), path, format!("is valid, but not active in this version: {so}"));
}

fn oc(reader: &Reader<'_>, mut oc: Object<'_>) -> Option<Oc> {
    let status_endpoint =
        oc.get(Key::new("statusEndpoint").variable("OC_STATUS_ENDPOINT").flag("--status-endpoint"), kinds::http_url);
    let status_is_set = status_endpoint.is_some();
    let status_endpoint = status_endpoint.map_or_else(
        || {
            let default = default_status_endpoint();
            reader.record(&oc.path("statusEndpoint"), default.show(), Origin::Default);
            default
        },
        |(url, _)| url,
    );
    let status_token = optional_secret(&mut oc, Key::new("statusToken").variable("OC_STATUS_TOKEN"));
    let min_available = oc.get_or(
        Key::new("minAvailable").variable("OC_MIN_AVAILABLE").flag("--min-available"),
        defaults::OC_MIN_AVAILABLE,
        kinds::whole(0, defaults::MAX_MIN_AVAILABLE),
    );
    let available_pointer = oc.get_or("availablePointer", None, nullable(kinds::pointer));
    let gateway = gateway_availability(reader, &mut oc);
    let timeout = oc.get_or("timeout", Duration::from_millis(defaults::OC_TIMEOUT), kinds::millis);
    Some(Oc { status_endpoint, status_is_set, status_token, min_available, available_pointer, gateway, timeout })
}

fn default_status_endpoint() -> SafeUrl {
    SafeUrl::new(::url::Url::parse(defaults::OC_STATUS_ENDPOINT).expect("the constant is a URL"))
}

/// `oc.gateway`. One of its variables alone may be set for OpenClaw's own sake and configures nothing.
fn gateway_availability(reader: &Reader<'_>, oc: &mut Object<'_>) -> Option<Gateway> {
    const URL: &str = "OPENCLAW_GATEWAY_URL";
    const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";
    let path = oc.path("gateway");
    let is_set = |variable| reader.variable_value(variable, &path).is_some();
    let mut object = match oc.optional_object("gateway") {
        Some(object) => object,
        None if is_set(URL) && is_set(TOKEN) => oc.absent("gateway"),
        None => return None,
    };
    gateway(&mut object, Key::new("url").variable(URL), Key::new("token").variable(TOKEN))
}

fn gateway(object: &mut Object<'_>, url: Key, token: Key) -> Option<Gateway> {
    let url = object.required(url, kinds::gateway_url);
    object.is_secret("token");
    let token = object.required(token, kinds::secret);
    Some(Gateway { url: url?, token: token? })
}

fn optional_secret(object: &mut Object<'_>, key: Key) -> Option<Secret> {
    object.is_secret(key.name());
    object.get_or(key, None, nullable(kinds::secret))
}

fn intervals(reader: &Reader<'_>, mut intervals: Object<'_>) -> Intervals {
    let mut interval = |name, default| intervals.get_or(name, Duration::from_millis(default), kinds::millis);
    let read = Intervals {
        watcher_idle: interval("watcherIdle", defaults::WATCHER_IDLE),
        watcher_active: interval("watcherActive", defaults::WATCHER_ACTIVE),
        scheduler_idle: interval("schedulerIdle", defaults::SCHEDULER_IDLE),
        scheduler_active: interval("schedulerActive", defaults::SCHEDULER_ACTIVE),
        cooldown_after_push: interval("cooldownAfterPush", defaults::COOLDOWN_AFTER_PUSH),
    };
    for (active, idle, names) in [
        (read.watcher_active, read.watcher_idle, ["watcherActive", "watcherIdle"]),
        (read.scheduler_active, read.scheduler_idle, ["schedulerActive", "schedulerIdle"]),
    ] {
        if active > idle {
            let message = format!("is longer than `{}`, so activity would slow things down", names[1]);
            reader.warning(intervals.place(), &intervals.path(names[0]), message);
        }
    }
    read
}

fn push(reader: &Reader<'_>, mut push: Object<'_>) -> Push {
    let default = Some(reader.scope.environment.temp.join(defaults::DISPATCH_FILE));
    let dispatch_file = push.get_or(
        Key::new("dispatchFile").variable("OGRAPH_DISPATCH_FILE").flag("--dispatch-file"),
        default,
        kinds::path_or_off,
    );
    let dispatch_file_mode = push.get_or("dispatchFileMode", Mode(defaults::DISPATCH_FILE_MODE), kinds::mode).0;
    let mut openclaw = push.object("openclaw");
    let openclaw = OpenClaw {
        enabled: openclaw.get_or("enabled", defaults::OPENCLAW_ENABLED, kinds::boolean),
        bin: openclaw.get_or("bin", defaults::OPENCLAW_BIN.into(), kinds::program),
        channel: openclaw.get_or("channel", None, nullable(kinds::line)),
        target: openclaw.get_or("target", None, nullable(kinds::line)),
        account: openclaw.get_or("account", None, nullable(kinds::line)),
        message: openclaw.get_or("message", None, nullable(kinds::text)),
        timeout: openclaw.get_or("timeout", Duration::from_millis(defaults::OPENCLAW_TIMEOUT), kinds::millis),
    };
    Push { dispatch_file, dispatch_file_mode, openclaw }
}

fn state_dir(reader: &Reader<'_>, mut state: Object<'_>) -> Option<PathBuf> {
    let key = Key::new("dir").variable("OGRAPH_STATE_DIR").flag("--state-dir");
    match &reader.scope.environment.state {
        Some(folder) => Some(state.get_or(key, folder.join(defaults::STATE_DIR), kinds::path)),
        // Without a home there is no default.
        None => state.required(key, kinds::path),
    }
}

fn control(reader: &Reader<'_>, mut control: Object<'_>) -> Control {
    let key = Key::new("listen").variable("OGRAPH_CONTROL_LISTEN").flag("--control-listen");
    let listen = control.get_or(key, default_listen(), kinds::listen);
    let token = optional_secret(&mut control, Key::new("token").variable("OGRAPH_CONTROL_TOKEN"));
    if let Some(listen) = listen.as_ref().filter(|listen| !listen.is_loopback() && token.is_none()) {
        let message =
            format!("{listen} is open to other machines, so it needs a `control.token` (OGRAPH_CONTROL_TOKEN)");
        reader.error(control.place_of(key), &control.path("listen"), message);
    }
    Control { listen, token }
}

fn default_listen() -> Option<Listen> {
    let (host, port) = defaults::CONTROL_LISTEN.split_once(':')?;
    Some(Listen { host: host.to_owned(), port: port.parse().ok()? })
}

fn limit(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The meaning of a default.
fn word<T: Choice>(word: &str) -> T {
    T::ALL.iter().find(|(name, _)| *name == word).map_or(T::ALL[0].1, |(_, value)| *value)
}
