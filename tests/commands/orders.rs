//! `flush`, `poll`, `pause`, `resume`, `reload` and `open`.

use serde_json::{Value, json};

use crate::{
    support::Answer,
    user::{StandIn, User, problem},
};

fn batch(receiver: &str, outcome: &str, detail: &str) -> Value {
    json!({"receiver": receiver, "batchId": "0190", "changes": 2, "outcome": outcome, "detail": detail})
}

#[test]
fn a_flush_shows_what_every_receiver_was_told() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let report = json!({"delivered": 1, "batches": [batch("dispatch-file", "delivered", "/tmp/d.json"), batch("openclaw", "skipped", "no target")]});
    daemon.answer_json(&report);
    let run = user.run("flush");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        run.out,
        "RECEIVER       CHANGES  OUTCOME\n\
         dispatch-file  2        delivered  /tmp/d.json\n\
         openclaw       2        skipped    no target\n\
         1 of 2 receivers told\n"
    );
    let request = daemon.last();
    assert_eq!((request.method.as_str(), request.target.as_str(), request.json()), ("POST", "/v1/flush", json!({})));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(user.run("flush --json").json(), report);
}

#[test]
fn a_flush_that_somebody_does_not_take_has_failed() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    for outcome in ["failed", "refused"] {
        daemon.answer_json(&json!({"delivered": 0, "batches": [batch("w", outcome, "503")]}));
        assert_eq!(user.run("flush").code, 1, "{outcome}");
        assert_eq!(user.run("flush --json").code, 1, "{outcome}");
    }
}

#[test]
fn a_flush_of_nothing_is_done() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&json!({"delivered": 0, "batches": []}));
    let run = user.run("flush");
    assert_eq!((run.code, run.out.as_str()), (0, "nothing was pending\n"));
}

#[test]
fn a_flush_when_available_is_refused_with_4_and_the_reason_when_there_is_no_room() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer(problem(409, "waiting: 1 of 2 needed slots free"));
    let run = user.run("flush --when-available");
    assert_eq!((run.code, run.err.as_str()), (4, "error: waiting: 1 of 2 needed slots free\n"));
    assert_eq!(daemon.last().json(), json!({"whenAvailable": true}));
}

#[test]
fn orders_are_given_once_and_say_what_is_true_now() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&json!({"ok": true}));
    for (command, words) in [("poll", "polled"), ("pause", "paused"), ("resume", "resumed"), ("reload", "reloaded")] {
        let before = daemon.server.requests().len();
        let run = user.run(command);
        assert!(run.code == 0 && run.out.starts_with(words) && run.err.is_empty(), "{run:?}");
        assert_eq!(daemon.server.requests().len(), before + 1);
        assert_eq!(daemon.last().target, format!("/v1/{command}"));
        assert_eq!(user.run(&format!("{command} --json")).json(), json!({"ok": true}));
    }
}

#[test]
fn an_answer_without_a_body_is_an_answer() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer(Answer::empty(204));
    assert_eq!(user.run("pause").code, 0);
    assert_eq!(user.run("pause --json").json(), Value::Null);
}

#[test]
fn a_reload_shows_warnings_and_what_needs_a_restart() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let warning = json!({"place": "d.json:3:5", "path": "oc.minAvailabel", "detail": "unknown key, ignored"});
    daemon.answer_json(&json!({"warnings": [warning], "afterRestart": ["control.listen"]}));
    assert_eq!(
        user.run("reload").lines()[1..],
        ["warning: d.json:3:5: oc.minAvailabel: unknown key, ignored", "control.listen takes effect at the next start"]
    );
}

#[test]
fn a_reload_of_a_wrong_configuration_ends_with_2_and_all_its_errors() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let errors = json!([
        {"place": "d.json:3:5", "path": "ograph.timeout", "detail": "must be above 0"},
        {"place": "OGRAPH_TOKEN", "path": "", "detail": "is empty"},
    ]);
    let body =
        json!({"title": "Bad Request", "status": 400, "detail": "the one before stays in force", "errors": errors});
    daemon.answer(Answer::text(400, "application/problem+json", body.to_string()));
    let run = user.run("reload");
    assert_eq!(run.code, 2);
    assert_eq!(
        run.err,
        "error: the one before stays in force\n  d.json:3:5: ograph.timeout: must be above 0\n  OGRAPH_TOKEN: is empty\n"
    );
    assert_eq!(user.run("reload --json").json()["errors"], errors);
}

#[test]
fn the_pages_address_is_printed_where_there_is_no_browser() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let address = format!("{}/#token={}", daemon.server.url(), StandIn::TOKEN);
    for line in ["open", "open --print"] {
        let run = user.run(line);
        assert_eq!((run.code, run.out.trim_end()), (0, address.as_str()), "{line}");
    }
    assert_eq!(user.run("open --json").json(), json!({"url": address}));
}

#[test]
fn a_browser_gets_the_token_neither_from_its_command_line_nor_from_the_output() {
    let mut user = User::new();
    let daemon = StandIn::of(&user);
    user.set("DISPLAY", ":0");
    let opener = user.path("bin/xdg-open");
    let seen = user.path("seen");
    user.write(&opener, &format!("#!/bin/sh\nprintf '%s' \"$*\" > '{}'\n", seen.display()));
    make_executable(&opener);
    let run = user.run("open");
    assert_eq!((run.code, run.out), (0, format!("opened {} in the browser\n", daemon.server.url())));
    let page = std::fs::read_to_string(&seen).expect("the browser was called");
    assert!(page.ends_with("open.html") && !page.contains(StandIn::TOKEN), "{page}");
    let page = std::fs::read_to_string(page).expect("the page that leads on");
    assert!(page.contains(&format!("{}/#token={}", daemon.server.url(), StandIn::TOKEN)), "{page}");

    user.write(&opener, "#!/bin/sh\nexit 3\n");
    make_executable(&opener);
    assert!(user.run("open").out.contains("/#token="), "a browser that does not start is none");
}

pub(crate) fn make_executable(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o700)).expect("permissions");
}
