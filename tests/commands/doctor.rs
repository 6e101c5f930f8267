//! `doctor`: what it finds, and that it delivers nothing.

use std::{
    fs,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

use crate::{
    gateway_server::{Act, GatewayServer},
    orders::make_executable,
    support::{Answer, OGraph, OpenClaw, TestServer},
    user::{Run, StandIn, User},
};

/// Everything a healthy installation has.
struct World {
    user: User,
    ograph: OGraph,
    openclaw: OpenClaw,
    config: Value,
}

impl World {
    fn new() -> Self {
        let (user, ograph, openclaw) = (User::new(), OGraph::start(), OpenClaw::start());
        ograph.set("board", &json!(1));
        let bin = user.path("bin/openclaw");
        user.write(&bin, "#!/bin/sh\necho 'OpenClaw 2026.9.6 (abc)'\n");
        make_executable(&bin);
        let config = json!({
            "ograph": {"endpoint": ograph.url(), "token": OGraph::TOKEN, "projections": ["board"]},
            "oc": {"statusEndpoint": openclaw.status_endpoint(), "statusToken": OpenClaw::TOKEN},
            "push": {"dispatchFile": user.path("dispatch.json"), "openclaw": {"target": "@ann"}},
            "agents": [openclaw.plugin_receiver(), {"type": "command", "argv": [bin]}],
        });
        Self { user, ograph, openclaw, config }
    }

    fn doctor(&self, line: &str) -> Run {
        self.user.configure(&self.config);
        self.user.run(line)
    }

    /// The level and text of every finding with this name.
    #[track_caller]
    fn findings(&self, name: &str) -> Vec<(String, String)> {
        let run = self.doctor("doctor --json");
        let report = run.json();
        let findings = report["checks"].as_array().expect("checks").iter().filter(|check| check["name"] == name);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let findings: Vec<_> = findings.map(|check| (text(&check["level"]), text(&check["message"]))).collect();
        assert!(!findings.is_empty(), "nothing about {name}: {report:#}");
        let fails = report["checks"].as_array().expect("checks").iter().any(|check| check["level"] == "fail");
        assert_eq!((run.code, &report["ok"]), (i32::from(fails), &json!(!fails)));
        findings
    }

    #[track_caller]
    fn assert_finds(&self, name: &str, level: &str, words: &str) {
        let findings = self.findings(name);
        assert!(findings.iter().any(|(l, message)| l == level && message.contains(words)), "{words}: {findings:?}");
    }
}

#[test]
fn a_healthy_installation_gets_no_word_of_complaint_and_no_delivery() {
    let world = World::new();
    let run = world.doctor("doctor");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert!(
        run.out.lines().all(|line| line.is_empty() || line.starts_with("ok  ") || line == "all is well"),
        "{run:?}"
    );
    for words in [
        "configuration: ",
        "1 projection",
        "state: ",
        "daemon: not running",
        "proxy: none",
        "is healthy",
        "projection: board can be read; the token is accepted",
        "openclaw command: ",
        "OpenClaw 2026.9.6 (abc)",
        "dispatch.json can be written",
        "accepts connections; nothing was delivered",
        "can be executed",
    ] {
        assert!(run.out.contains(words), "{words}: {run:?}");
    }
    assert_eq!(world.openclaw.plugin_deliveries().len(), 0);
    assert!(!world.user.path("dispatch.json").exists());
    assert!(!world.user.state_dir().exists(), "the state is not touched");
    assert!(!run.out.contains(OGraph::TOKEN) && !run.out.contains(OpenClaw::TOKEN), "{run:?}");
}

#[test]
fn it_says_how_the_availability_is_read() {
    let mut world = World::new();
    world.openclaw.set_available(1);
    world.assert_finds("availability", "ok", "1 free slot; 2 needed, so a push would wait");
    world.openclaw.answer_status_with(Answer::json(200, &json!({"idle": true})));
    world.assert_finds(
        "availability",
        "ok",
        "by the usual rules, as \"there is room\"; 2 needed, so a push would go out",
    );
    world.config["oc"]["availablePointer"] = json!("/free");
    world.openclaw.answer_status_with(Answer::json(200, &json!({"free": 7})));
    world.assert_finds("availability", "ok", "at oc.availablePointer \"/free\", as 7 free slots");
    world.openclaw.answer_status_with(Answer::json(200, &json!({"x": 7})));
    world.assert_finds("availability", "fail", "`x`");
    world.openclaw.answer_status_with(Answer::html(200));
    world.assert_finds("availability", "fail", "not JSON");
}

/// A gateway on a thread of its own; it ends with this value.
struct GatewayThread {
    url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GatewayThread {
    const TOKEN: &str = "gateway-test-token";

    fn start(lanes: Value) -> Self {
        Self::with_channels(lanes, json!({}))
    }

    fn with_channels(lanes: Value, channels: Value) -> Self {
        let (started, url) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let gateway = GatewayServer::start(Self::TOKEN, move |method, _| match method {
                    "diagnostics.lanes" => Act::Answer(lanes.clone()),
                    "sessions.list" => Act::Answer(json!({"count": 1, "sessions": []})),
                    "channels.status" => Act::Answer(json!({"channels": channels})),
                    _ => Act::error("INVALID_REQUEST", None),
                })
                .await;
                started.send(gateway.url("ws").to_string()).expect("somebody waits");
                stopped.await.ok();
            });
        });
        Self { url: url.recv().expect("a gateway"), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for GatewayThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn the_gateway_is_shown_with_its_version_and_its_troubles_are_told_apart() {
    let lanes = json!({"lanes": [{"lane": "main", "activeCount": 1, "queuedCount": 0, "maxConcurrent": 4}]});
    let gateway = GatewayThread::start(lanes);
    let mut world = World::new();
    let good = json!({"gateway": {"url": gateway.url, "token": GatewayThread::TOKEN}});
    world.config["oc"] = good.clone();
    world.assert_finds("gateway", "ok", "is OpenClaw ");
    world.assert_finds("gateway", "ok", "1 lane read, in main 1 of 4 taken and 0 queued");
    world.assert_finds("availability", "ok", "by lanes and sessions, as 3 free slots");

    world.config["oc"]["gateway"]["token"] = json!("wrong-secret");
    world.assert_finds("gateway", "fail", "");
    let run = world.doctor("doctor");
    assert!(run.out.contains("→ set oc.gateway.token") && !run.out.contains("wrong-secret"), "{run:?}");

    world.config["oc"]["gateway"] = json!({"url": "ws://127.0.0.1:1", "token": "t"});
    world.assert_finds("gateway", "fail", "127.0.0.1:1");
    let run = world.doctor("doctor");
    assert!(run.out.contains("→ start OpenClaw") && run.out.contains("check oc.gateway and that"), "{run:?}");

    let silent = GatewayThread::start(json!({}));
    world.config["oc"] = json!({"gateway": {"url": silent.url, "token": GatewayThread::TOKEN}});
    world.assert_finds("gateway", "fail", "tells no lanes");

    // The gateway stands in for a route that is not there, and that is said.
    world.config["oc"] = good;
    let nothing = TestServer::start(|_| Answer::text(404, "text/plain", "Not Found").into());
    world.config["oc"]["statusEndpoint"] = json!(format!("{}/plugins/session-status/status", nothing.url()));
    world.assert_finds("status route", "warn", "answers 404; the gateway is asked instead");
    world.assert_finds("availability", "ok", "3 free slots");
}

#[test]
fn a_plugin_that_is_not_installed_is_noticed_and_the_remedy_is_named() {
    let mut world = World::new();
    let nothing = TestServer::start(|_| Answer::text(404, "text/plain", "Not Found").into());
    let url = format!("{}/plugins/ograph/dispatch", nothing.url());
    world.config["agents"][0]["url"] = json!(url);
    world.config["oc"]["statusEndpoint"] = json!(nothing.url());
    world.assert_finds(&format!("receiver oc-plugin:{url}"), "warn", "the plugin's route is not there");
    world.assert_finds("availability", "fail", "404");
    let run = world.doctor("doctor");
    assert_eq!(run.out.matches("openclaw install-plugin --apply").count(), 2, "{run:?}");
    assert!(nothing.requests().iter().all(|request| request.method == "GET"), "nothing is delivered");

    let mut world = World::new();
    world.config["agents"][0]["secret"] = json!("wrong-secret");
    let url = world.config["agents"][0]["url"].as_str().expect("text").to_owned();
    world.assert_finds(&format!("receiver oc-plugin:{url}"), "fail", "refuses the secret (401)");
    assert!(!world.doctor("doctor").out.contains("wrong-secret"));
}

#[test]
fn a_receiver_on_the_gateway_is_asked_with_its_own_token_and_its_channel_is_looked_at() {
    let channels = json!({"telegram": {"configured": true, "running": true}, "signal": {"configured": false}});
    let lanes = json!({"lanes": [{"lane": "main", "activeCount": 0, "queuedCount": 0, "maxConcurrent": 4}]});
    let gateway = GatewayThread::with_channels(lanes, channels);
    let mut world = World::new();
    let receiver = json!({
        "type": "oc-gateway", "name": "chat", "url": gateway.url, "token": GatewayThread::TOKEN,
        "mode": "send", "to": "@ann",
    });
    world.config["agents"] = json!([receiver, {"type": "oc-gateway", "name": "agent", "url": gateway.url,
        "token": GatewayThread::TOKEN, "mode": "agent"}]);
    for name in ["receiver chat", "receiver agent"] {
        world.assert_finds(name, "ok", "takes the token; nothing was delivered");
    }
    world.assert_finds("channel of receiver chat", "ok", "telegram is configured and runs");
    let report = world.doctor("doctor --json").json();
    let names = report["checks"].as_array().expect("checks").iter().filter_map(|check| check["name"].as_str());
    assert_eq!(names.filter(|name| name.starts_with("channel of ")).count(), 1, "{report:#}");

    world.config["agents"][0]["channel"] = json!("signal");
    world.assert_finds("channel of receiver chat", "fail", "configured in OpenClaw: telegram");
    world.config["agents"][0]["token"] = json!("wrong-secret");
    world.assert_finds("receiver chat", "fail", "the token was refused");
    world.assert_finds("receiver agent", "ok", "takes the token");
    let run = world.doctor("doctor");
    assert!(run.out.contains("→ set its token to gateway.auth.token"), "{run:?}");
    assert!(!run.out.contains("wrong-secret") && !run.out.contains(GatewayThread::TOKEN), "{run:?}");

    // The command has the channel of `oc.gateway`, where that is known.
    world.config["oc"] = json!({"gateway": {"url": gateway.url, "token": GatewayThread::TOKEN}});
    world.config["push"]["openclaw"] = json!({"target": "@ann", "channel": "signal"});
    world.assert_finds("channel of the openclaw command", "fail", "\"signal\" is not configured");
    world.config["push"]["openclaw"]["channel"] = json!("telegram");
    world.assert_finds("channel of the openclaw command", "ok", "telegram is configured and runs");
}

#[test]
fn a_hook_is_asked_whether_it_takes_the_token_and_is_given_no_message() {
    // As OpenClaw does: the token first, then the message.
    let hooks = TestServer::start(|request| {
        if !request.bears("hook-token") {
            return Answer::text(401, "text/plain", "Unauthorized").into();
        }
        match (request.path(), request.json().get("message").or(request.json().get("text"))) {
            ("/base/hooks/agent" | "/base/hooks/wake", None) => {
                Answer::json(400, &json!({"ok": false, "error": "message required"})).into()
            }
            _ => Answer::json(200, &json!({"ok": true, "runId": "r"})).into(),
        }
    });
    let mut world = World::new();
    let url = format!("{}/base/", hooks.url());
    let hook = |mode: &str| json!({"type": "oc-hook", "name": mode, "url": url, "token": "hook-token", "mode": mode});
    world.config["agents"] = json!([hook("agent"), hook("wake")]);
    world.assert_finds("receiver agent", "ok", "/base/hooks/agent takes the token; nothing was delivered");
    world.assert_finds("receiver wake", "ok", "/base/hooks/wake takes the token; nothing was delivered");
    assert!(hooks.requests().iter().all(|request| request.json() == json!({})), "nothing is delivered");

    world.config["agents"][0]["token"] = json!("wrong-secret");
    world.assert_finds("receiver agent", "fail", "refuses the token (401)");
    let run = world.doctor("doctor");
    assert!(run.out.contains("hooks.token") && !run.out.contains("wrong-secret"), "{run:?}");

    for (answer, level, words) in [
        (Answer::text(404, "text/plain", "Not Found"), "fail", "hooks are off"),
        (Answer::html(200), "fail", "not as OpenClaw's hooks do"),
        (Answer::json(400, &json!({"detail": "what?"})), "fail", "not as OpenClaw's hooks do"),
        (Answer::empty(302).header("location", "/elsewhere"), "fail", "answers 302"),
        (Answer::empty(429), "warn", "too many wrong tokens"),
        (Answer::empty(503).header("retry-after", "1"), "warn", "answers 503"),
    ] {
        let server = TestServer::start(move |_| answer.clone().into());
        world.config["agents"] =
            json!([{"type": "oc-hook", "name": "hook", "url": server.url(), "token": "t", "mode": "agent"}]);
        world.assert_finds("receiver hook", level, words);
    }
}

#[test]
fn ographs_troubles_are_told_apart() {
    let world = World::new();
    world.ograph.accept_token("another");
    world.assert_finds("ograph", "ok", "is healthy");
    world.assert_finds("projection", "fail", "the token was refused");
    world.ograph.accept_token(OGraph::TOKEN);
    world.ograph.remove("board");
    world.assert_finds("projection", "warn", "OGraph knows no board");
    let mut world = World::new();
    let portal = TestServer::start(|_| Answer::html(200).into());
    world.config["ograph"]["endpoint"] = json!(portal.url());
    world.assert_finds("ograph", "fail", "a web page");
    world.assert_finds("projection", "fail", "text/html");
    world.config["ograph"]["endpoint"] = json!("http://127.0.0.1:1");
    world.assert_finds("ograph", "fail", "connection refused");
}

#[test]
fn a_clock_that_is_off_is_noticed() {
    let mut world = World::new();
    let answer = Answer::json(200, &json!({"ok": true})).header("date", "Sun, 22 Nov 2009 12:00:00 GMT");
    let server = TestServer::start(move |_| answer.clone().into());
    world.config["ograph"]["endpoint"] = json!(server.url());
    world.assert_finds("clock", "warn", "ahead of OGraph");
}

#[test]
fn programs_files_and_receivers_that_are_missing_are_named() {
    let mut world = World::new();
    fs::remove_file(world.user.path("bin/openclaw")).expect("a file");
    world.config["push"]["dispatchFile"] = json!(world.user.path("no/such/folder/d.json"));
    let mut plugin = world.openclaw.plugin_receiver();
    plugin["url"] = json!("http://127.0.0.1:1/plugins");
    world.config["agents"].as_array_mut().expect("agents").push(plugin);
    world.assert_finds("openclaw command", "fail", "openclaw is not in PATH");
    world.assert_finds("dispatch file", "fail", "is not writable");
    world.assert_finds("receiver oc-plugin:http://127.0.0.1:1/plugins", "fail", "127.0.0.1:1: ");
    let run = world.doctor("doctor");
    assert!(run.code == 1 && run.out.contains("FAIL") && run.out.contains("      → "), "{run:?}");

    world.config["push"]["openclaw"] = json!({});
    world.assert_finds("openclaw command", "warn", "not in PATH");
    world.config["push"]["openclaw"] = json!({"enabled": false});
    let report = world.doctor("doctor --json").json();
    assert!(report["checks"].as_array().expect("checks").iter().all(|check| check["name"] != "openclaw command"));
}

#[test]
fn an_openclaw_that_fails_is_noticed() {
    let world = World::new();
    let bin = world.user.path("bin/openclaw");
    for (script, words) in
        [("#!/bin/sh\nexit 1\n", "failed"), ("#!/bin/sh\n", "said nothing"), ("#!/no/such\n", "cannot be run")]
    {
        world.user.write(&bin, script);
        make_executable(&bin);
        world.assert_finds("openclaw command", "fail", words);
    }
}

#[test]
fn every_error_of_the_configuration_is_a_finding() {
    let mut world = World::new();
    world.config["ograph"]["timeout"] = json!(0);
    world.config["intervals"] = json!({"watcherIdle": "soon"});
    let findings = world.findings("configuration");
    assert_eq!(findings.iter().filter(|(level, _)| level == "fail").count(), 2, "{findings:?}");
    assert_eq!(world.findings("state").len(), 1, "what needs no configuration is checked all the same");
    let nobody = User::new();
    let run = nobody.run("doctor");
    assert!(run.code == 1 && run.out.contains("`ograph-dispatcher init` creates it"), "{run:?}");
}

#[test]
fn a_running_daemon_is_no_trouble_unless_it_is_of_another_version() {
    let world = World::new();
    let daemon = StandIn::of(&world.user);
    daemon.answer_json(&json!({"version": env!("CARGO_PKG_VERSION")}));
    world.assert_finds("daemon", "ok", &format!("runs at {}", daemon.server.url()));
    daemon.answer_json(&json!({"version": "0.0.1"}));
    world.assert_finds("daemon", "warn", "version 0.0.1 runs");
    daemon.answer(Answer::html(200));
    world.assert_finds("daemon", "fail", "no ograph-dispatcher");

    let lock = fs::File::create(world.user.state_dir().join("state.lock")).expect("a file");
    lock.try_lock().expect("nobody else's");
    world.assert_finds("state", "ok", "in use by the running daemon");
}
