//! `status`: why nothing is sent, once and watched, with and without colours.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::user::{StandIn, User, ago};

fn calm() -> Value {
    json!({
        "version": "0.1.0", "build": "", "pid": 7, "now": ago(0), "startedAt": ago(7_380), "uptimeMs": 7_380_000,
        "ready": true, "conditions": [],
        "actors": {"watcher": {"state": "running", "restarts": 0, "lastPanic": null}},
        "watcher": {
            "intervalMs": 30_000, "projections": 10, "polls": 3, "lastSweepAt": ago(4), "lastSweepMs": 3,
            "nextPollAt": ago(-26), "errors": [],
        },
        "scheduler": {
            "state": "waiting", "since": ago(65), "reason": "waiting: 1 of 2 needed slots free since 12:03 UTC",
            "nextPollAt": ago(-5),
            "availability": {"available": 1, "minAvailable": 2, "enough": false, "since": null, "error": null},
            "cooldownUntil": null,
        },
        "receivers": [{
            "receiver": "hook", "reason": "waits for 2 changes", "pending": 2, "oldestPendingAt": ago(9),
            "inFlight": false, "lastDelivery": {"at": ago(180), "outcome": "delivered", "detail": "200"},
            "lastError": null, "failures": 0, "failingSince": null, "coolingUntil": null, "nextRetryAt": null,
        }],
        "config": {"file": null, "since": ago(9), "refused": null}, "webhook": "/v1/hooks/ograph?key=x",
    })
}

#[test]
fn the_status_says_why_nothing_is_sent() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&calm());
    let run = user.run("status");
    assert_eq!(run.code, 0, "{run:?}");
    let text = run.out.replace(&daemon.server.url(), "URL");
    assert_eq!(
        text,
        "ograph-dispatcher 0.1.0, up 2 h 3 min, URL\n\n\
         waiting: 1 of 2 needed slots free since 12:03 UTC (since 1 min 5 s ago)\n\
         1 free slot, 2 needed; asked again in 5 s\n\
         10 projections polled every 30 s, last 4 s ago, next in 26 s\n\n\
         RECEIVER  PENDING  LAST PUSH            STATE\n\
         hook      2        delivered 3 min ago  waits for 2 changes\n"
    );
    assert_eq!(user.run("status --json").json()["scheduler"]["state"], "waiting");
}

#[test]
fn troubles_and_restarted_actors_are_shown_too() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let mut status = calm();
    status["conditions"] = json!([
        {"name": "source.refused", "severity": "error", "blocks": true, "subject": null, "since": ago(60),
         "message": "OGraph refuses the token"},
        {"name": "receiver.failing", "severity": "warning", "blocks": false, "subject": "hook", "since": null,
         "message": "exit 1"},
    ]);
    let panic = json!({"at": ago(30), "message": "oh no", "location": "a.rs:1:2"});
    status["actors"]["scheduler"] = json!({"state": "restarting", "restarts": 2, "lastPanic": panic});
    status["scheduler"]["availability"] =
        json!({"available": null, "minAvailable": 2, "enough": false, "since": null, "error": "connection refused"});
    daemon.answer_json(&status);
    let run = user.run("status");
    for line in [
        "error: OGraph refuses the token (since 1 min ago)",
        "warning: hook: exit 1",
        "free slots unknown: connection refused; asked again in 5 s",
        "scheduler restarting 2 30 s ago: oh no at a.rs:1:2",
    ] {
        assert!(run.lines().iter().any(|there| there == line), "{line}: {run:?}");
    }
}

#[test]
fn output_that_no_terminal_shows_has_no_colours() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&calm());
    assert!(!user.run("status").out.contains('\u{1b}'));
}

/// What the program writes to a terminal.
fn on_a_terminal(user: &User, line: &str) -> String {
    use std::{fs::File, io::Read as _};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("a terminal");
    unlockpt(&terminal).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let screen = File::options().read(true).write(true).open(name).expect("a terminal");
    let mut child = user.command(line).stdout(screen).spawn().expect("the program");
    // The command holds the other end, and is gone now; at its end the terminal is at its end, too.
    let mut shown = Vec::new();
    let _end = File::from(terminal).read_to_end(&mut shown);
    assert_eq!(child.wait().expect("a child").code(), Some(0), "{line}");
    String::from_utf8(shown).expect("UTF-8")
}

#[test]
fn a_terminal_gets_colours_unless_they_are_declined() {
    let mut user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&calm());
    let shown = on_a_terminal(&user, "status");
    assert!(shown.contains("\u{1b}[33mwaiting\u{1b}[0m: 1 of 2") && shown.contains("\u{1b}[1mRECEIVER"), "{shown:?}");
    assert!(!on_a_terminal(&user, "status --json").contains('\u{1b}'));
    user.set("NO_COLOR", "1");
    let plain = on_a_terminal(&user, "status");
    assert!(plain.contains("waiting: 1 of 2") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[test]
fn watching_goes_on_while_the_daemon_is_away_and_ends_with_ctrl_c() {
    use rustix::process::{Pid, Signal, kill_process};
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&calm());
    let mut child = user
        .command("status --watch --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut errors = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("JSON") };
    assert_eq!(next()["version"], "0.1.0");
    drop(daemon);
    assert!(errors.next().expect("a line").expect("UTF-8").contains("no daemon is reachable"));
    // It is back, elsewhere.
    let daemon = StandIn::of(&user);
    daemon.answer_json(&json!({"version": "0.2.0"}));
    while next()["version"] != "0.2.0" {}
    kill_process(Pid::from_child(&child), Signal::INT).expect("a running child");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}

#[test]
fn watching_begins_only_with_a_daemon() {
    assert_eq!(User::new().run("status --watch").code, 3);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let mut status = calm();
    let receiver = status["receivers"][0].clone();
    status["receivers"] = Value::Array(vec![receiver; 20_000]);
    daemon.answer_json(&status);
    for line in ["status", "status --json", "status --watch", "completions bash", "man", "--help", "service print"] {
        let mut child = user.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("a child");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{line}");
    }
}
