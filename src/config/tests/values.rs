//! What a configuration means: defaults, both generations of the file, precedence.

use std::{path::PathBuf, time::Duration};

use ograph_dispatcher_actors::secret::Secret;

use super::*;
use crate::config::{
    ActiveScope, AgentKind, FirstSeen, GatewayAction, HookAction, Id, Listen, LogFormat, Origin, Place, Proxy,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn keys(loaded: &Loaded) -> Vec<&str> {
    loaded.config.ograph.projections.iter().map(|projection| projection.key.as_str()).collect()
}

fn origin(loaded: &Loaded, path: &str) -> Origin {
    loaded.settings.iter().find(|setting| setting.path == path).unwrap_or_else(|| panic!("{path}")).origin.clone()
}

#[test]
fn the_first_published_generation_loads_unchanged() {
    let loaded = load(FIRST_GENERATION);
    assert_eq!(loaded.warnings, []);
    let config = &loaded.config;
    assert_eq!(config.ograph.endpoint.expose().as_str(), "https://api.ograph.example/");
    assert_eq!(config.ograph.token.expose(), "fixture-ograph-token");
    assert_eq!(keys(&loaded), ["task_assignee", "task_status?task_id=7"]);
    assert_eq!(config.oc.status_token.clone(), Some(Secret::new("fixture-status-token")));
    assert_eq!(config.oc.min_available, 2);
    assert_eq!(config.intervals.cooldown_after_push, millis(60_000));
}

#[test]
fn the_later_published_generation_loads_unchanged() {
    let loaded = load(LATER_GENERATION);
    assert_eq!(
        loaded.warnings.iter().map(|warning| warning.path.as_str()).collect::<Vec<_>>(),
        ["ograph.projections", "discovery"],
        "{:?}",
        loaded.warnings
    );
    let discovery = loaded.config.discovery.unwrap();
    assert_eq!((discovery.agent_id, discovery.event_types.len()), (Id::Number(3), 4));
    let [agent] = loaded.config.agents.as_slice() else { panic!("one agent") };
    assert_eq!(agent.id.as_str(), "oc-plugin:http://localhost:18789/plugins/ograph/dispatch");
    let AgentKind::OcPlugin { secret, actor, .. } = &agent.kind else { panic!("a plugin") };
    assert_eq!((secret.expose(), actor), ("fixture-plugin-secret", &Id::Text("ann".to_owned())));
}

#[test]
fn whatever_is_left_out_has_its_default() {
    let loaded = load(&file("\"$schema\": \"x\""));
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.ograph.timeout, millis(10_000));
    assert_eq!((config.ograph.concurrency, config.ograph.max_body_bytes), (16, 4_194_304));
    assert_eq!(config.ograph.proxy, Proxy::FromEnvironment);
    assert_eq!(config.discovery, None);
    assert_eq!(config.oc.status_endpoint.to_string(), "http://localhost:18789/plugins/session-status/status");
    assert_eq!((config.oc.status_token, config.oc.available_pointer, config.oc.gateway), (None, None, None));
    assert_eq!((config.oc.min_available, config.oc.timeout), (2, millis(5_000)));
    assert_eq!((config.intervals.watcher_idle, config.intervals.watcher_active), (millis(30_000), millis(5_000)));
    assert_eq!((config.intervals.scheduler_idle, config.intervals.scheduler_active), (millis(60_000), millis(5_000)));
    assert_eq!(config.intervals.cooldown_after_push, millis(60_000));
    assert_eq!((config.watch.active_scope, config.watch.first_seen), (ActiveScope::All, FirstSeen::Baseline));
    assert_eq!(config.push.dispatch_file, Some("/tmp/ograph-dispatch.json".into()));
    assert_eq!(config.push.dispatch_file_mode, 0o600);
    assert!(config.push.openclaw.enabled);
    assert_eq!((config.push.openclaw.bin, config.push.openclaw.timeout), ("openclaw".into(), millis(60_000)));
    assert_eq!(config.agents, []);
    assert_eq!(config.state_dir, PathBuf::from("/home/ann/.local/state/ograph-dispatcher"));
    assert_eq!(config.control.listen, Some(Listen { host: "127.0.0.1".to_owned(), port: 18791 }));
    assert_eq!(config.control.token, None);
    assert_eq!(config.log_format, LogFormat::Text);
}

#[test]
fn every_key_of_the_file_reaches_the_configuration() {
    let loaded = load_with(&for_fixtures(), EVERY_KEY).unwrap();
    let config = loaded.config;
    assert_eq!(config.ograph.token.expose(), "fixture-ograph-token");
    let [_, status] = config.ograph.projections.as_slice() else { panic!("two projections") };
    assert_eq!((status.key.as_str(), status.name.as_str()), ("status", "task_status"));
    assert_eq!(status.query(), "?open=true&q=a%20b&task_id=12345678901234567890");
    assert_eq!(status.view(), r#"at "" without "/updated_at""#);
    assert_eq!((config.ograph.timeout, config.ograph.concurrency), (millis(1000), 4));
    assert_eq!(config.ograph.max_body_bytes, 1024);
    let Proxy::Through(proxy) = config.ograph.proxy else { panic!("a proxy") };
    assert_eq!(proxy.expose().password(), Some("fixture"));
    assert_eq!(config.discovery.unwrap().agent_id, Id::Text("ann".to_owned()));
    assert_eq!(config.oc.status_endpoint.expose().query(), Some("key=fixture"));
    assert_eq!(config.oc.available_pointer.unwrap().as_str(), "/slots/free");
    assert_eq!(config.oc.gateway.unwrap().token.expose(), "fixture-gateway-token");
    assert_eq!((config.oc.min_available, config.oc.timeout), (1, millis(2000)));
    assert_eq!((config.intervals.watcher_idle, config.intervals.watcher_active), (millis(5), millis(4)));
    assert_eq!((config.intervals.scheduler_idle, config.intervals.scheduler_active), (millis(3), millis(2)));
    assert_eq!(config.intervals.cooldown_after_push, millis(1));
    assert_eq!((config.watch.active_scope, config.watch.first_seen), (ActiveScope::Projection, FirstSeen::Change));
    assert_eq!((config.push.dispatch_file, config.push.dispatch_file_mode), (None, 0o640));
    let openclaw = config.push.openclaw;
    assert_eq!((openclaw.enabled, openclaw.bin), (false, "/home/ann/bin/openclaw".into()));
    let texts = [openclaw.channel, openclaw.target, openclaw.account, openclaw.message].map(Option::unwrap);
    assert_eq!(texts, ["telegram", "@ann", "work", "{count}\n{names}"]);
    assert_eq!(openclaw.timeout, millis(3000));
    assert_eq!(config.state_dir, PathBuf::from("state"));
    assert_eq!(config.control.listen, Some(Listen { host: "0.0.0.0".to_owned(), port: 0 }));
    assert_eq!(config.control.token.unwrap().expose(), "fixture-control-token");
    assert_eq!(config.log_format, LogFormat::Json);

    let agents: Vec<_> = config.agents.iter().map(|agent| (agent.id.as_str(), agent.timeout)).collect();
    let expected = [("plugin", 4000), ("hook", 5000), ("program", 6000), ("gateway", 7000), ("oc hook", 8000)];
    assert_eq!(agents, expected.map(|(name, timeout)| (name, millis(timeout))));
    let AgentKind::Command { program, arguments } = &config.agents[2].kind else { panic!("a command") };
    assert_eq!((program, arguments.as_slice()), (&PathBuf::from("./notify"), &["--key".to_owned(), String::new()][..]));
    let AgentKind::OcGateway { action, .. } = &config.agents[3].kind else { panic!("a gateway") };
    assert_eq!(action, &GatewayAction::Agent { session_key: Some("main".to_owned()), wait: true });
    let AgentKind::OcHook { action: HookAction::Agent { deliver, to, .. }, .. } = &config.agents[4].kind else {
        panic!("a hook")
    };
    assert_eq!((*deliver, to.as_deref()), (Some(true), Some("@ann")));
}

#[test]
fn the_example_loads_without_warnings() {
    let loaded = load(EXAMPLE);
    assert_eq!(loaded.warnings, []);
    assert_eq!(keys(&loaded), ["open_tasks", "task_assignee?task_id=7", "status of the big task"]);
    assert_eq!(loaded.config.agents.len(), 3);
}

/// A setting, what the file says, the variable and the flag with their values, and how each is shown.
const OVERRIDDEN: [(&str, &str, &str, &str); 8] = [
    ("ograph.endpoint", "\"http://file/\"", "OGRAPH_ENDPOINT", "--endpoint"),
    ("ograph.projections", "[\"file\"]", "OGRAPH_PROJECTIONS", "--projection"),
    ("oc.statusEndpoint", "\"http://file/\"", "OC_STATUS_ENDPOINT", "--status-endpoint"),
    ("oc.minAvailable", "7", "OC_MIN_AVAILABLE", "--min-available"),
    ("push.dispatchFile", "\"/file\"", "OGRAPH_DISPATCH_FILE", "--dispatch-file"),
    ("state.dir", "\"/file\"", "OGRAPH_STATE_DIR", "--state-dir"),
    ("control.listen", "\"localhost:7\"", "OGRAPH_CONTROL_LISTEN", "--control-listen"),
    ("log.format", "\"json\"", "OGRAPH_LOG_FORMAT", "--log-format"),
];

/// A value of the same kind as `file`, as one writes it outside of JSON, and as it is shown.
fn another(file: &str, by: &str) -> (String, serde_json::Value) {
    let value: serde_json::Value = serde_json::from_str(file).unwrap();
    let text = match &value {
        serde_json::Value::String(text) if text == "json" => "text".to_owned(),
        serde_json::Value::String(text) if text.contains(':') && !text.contains('/') => "localhost:8".to_owned(),
        serde_json::Value::String(text) => text.replace("file", by),
        serde_json::Value::Array(_) => return (format!("{by}?a=1"), serde_json::json!([format!("{by}?a=1")])),
        _ => return (by.len().to_string(), serde_json::json!(by.len())),
    };
    (text.clone(), serde_json::json!(text))
}

#[test]
fn a_flag_overrides_the_environment_and_the_environment_the_file() {
    for (path, in_file, variable, flag) in OVERRIDDEN {
        let (section, key) = path.split_once('.').unwrap();
        let text = format!(
            "{{\"{section}\": {{\"{key}\": {in_file}, {}}}{}}}",
            if section == "ograph" { "\"token\": \"t\"" } else { "\"odd\": 1" },
            if section == "ograph" { "" } else { ",\"ograph\": {\"token\": \"t\"}" },
        );
        let base = if path == "ograph.endpoint" { None } else { Some(("OGRAPH_ENDPOINT", "http://base")) };
        let shown = |loader: &Loader| {
            let loaded = load_with(loader, &text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let setting = loaded.settings.into_iter().find(|setting| setting.path == path).unwrap();
            (setting.value, setting.origin)
        };
        let (value, origin) = shown(&with(base.as_slice()));
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(in_file).unwrap());
        assert!(matches!(origin, Origin::Set(Place::At { .. })), "{path}: {origin}");

        let (set, expected) = another(in_file, "variable");
        let variables: Vec<_> = base.into_iter().chain([(variable, set.as_str())]).collect();
        let mut loader = with(&variables);
        assert_eq!(shown(&loader), (expected, Origin::Set(Place::Variable { variable })), "{path}");

        let (set, expected) = another(in_file, "flag");
        loader.flags = loader.flags.with(flag, [set]);
        assert_eq!(shown(&loader), (expected, Origin::Set(Place::Flag { flag })), "{path}");
    }
}

#[test]
fn tokens_are_overridden_as_well_but_by_a_flag_only_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "of-the-flag\n").unwrap();
    let text = file("\"oc\": {\"statusToken\": \"of-the-file\"}, \"control\": {\"token\": \"of-the-file\"}");
    let mut loader = with(&[
        ("OGRAPH_TOKEN", "of-the-variable"),
        ("OC_STATUS_TOKEN", "of-the-variable"),
        ("OGRAPH_CONTROL_TOKEN", "of-the-variable"),
    ]);
    let config = load_with(&loader, &text).unwrap().config;
    let tokens = [Some(config.ograph.token), config.oc.status_token, config.control.token];
    assert_eq!(tokens.map(|token| token.unwrap().expose().to_owned()), ["of-the-variable"; 3]);

    loader.environment.current = folder.path().to_owned();
    loader.flags = loader.flags.with("--token-file", ["token".to_owned()]);
    assert_eq!(load_with(&loader, &text).unwrap().config.ograph.token.expose(), "of-the-flag");
}

#[test]
fn a_value_that_is_overridden_does_no_harm() {
    let text = "{\"ograph\": {\"endpoint\": \"<url>\", \"token\": {\"file\": \"/nowhere\"}, \"projections\": [\"p\"]}}";
    let loader = with(&[("OGRAPH_ENDPOINT", "http://x"), ("OGRAPH_TOKEN", "t")]);
    assert_eq!(problems_with(&loader, text), "");
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let loader = with(&[("OGRAPH_ENDPOINT", ""), ("OC_MIN_AVAILABLE", "")]);
    let loaded = load_with(&loader, &file("")).unwrap();
    assert_eq!(loaded.config.ograph.endpoint.to_string(), "https://o.example/");
    assert_eq!(origin(&loaded, "oc.minAvailable"), Origin::Default);
}

#[test]
fn off_switches_off_where_there_is_no_null() {
    let loader = with(&[("OGRAPH_DISPATCH_FILE", "off"), ("OGRAPH_CONTROL_LISTEN", "off")]);
    let config = load_with(&loader, &file("")).unwrap().config;
    assert_eq!((config.push.dispatch_file, config.control.listen), (None, None));
    let config = load(&file("\"push\": {\"dispatchFile\": \"off\"}")).config;
    assert_eq!(config.push.dispatch_file, Some("off".into()), "in the file it is a name like any other");
}

#[test]
fn the_gateway_needs_both_of_its_variables() {
    let gateway = |variables: &[(&str, &str)]| load_with(&with(variables), &file("")).unwrap();
    assert_eq!(gateway(&[("OPENCLAW_GATEWAY_TOKEN", "t")]).config.oc.gateway, None);
    assert_eq!(gateway(&[("OPENCLAW_GATEWAY_URL", "ws://x")]).warnings, []);
    let loaded = gateway(&[("OPENCLAW_GATEWAY_URL", "ws://x"), ("OPENCLAW_GATEWAY_TOKEN", "t")]);
    assert_eq!(loaded.config.oc.gateway.unwrap().url.to_string(), "ws://x/");
    assert!(!loaded.config.oc.status_is_set, "so the gateway is asked, and not the default route");
}

#[test]
fn without_a_home_only_the_state_folder_has_to_be_named() {
    let loader = Loader { environment: Environment::default(), ..Loader::default() };
    assert_eq!(
        problems_with(&loader, &file("")),
        "error: f.json: state.dir: is missing; set it in the file, as OGRAPH_STATE_DIR or with --state-dir"
    );
    assert!(load_with(&loader, &file("\"state\": {\"dir\": \"/var/lib/x\"}")).is_ok());
}

#[test]
fn only_what_this_machine_alone_can_reach_is_loopback() {
    let is_loopback = |host: &str| Listen { host: host.to_owned(), port: 0 }.is_loopback();
    assert!(["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost"].into_iter().all(is_loopback));
    assert!(!["0.0.0.0", "::", "192.168.1.1", "example.org", "localhost.example.org"].into_iter().any(is_loopback));
    assert_eq!(Listen { host: "::1".to_owned(), port: 5 }.to_string(), "[::1]:5");
}
