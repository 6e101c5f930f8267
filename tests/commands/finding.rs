//! Which daemon is asked, and what is said if there is none.

use std::fs;

use serde_json::json;

use crate::{
    support::{Answer, Reply},
    user::{Run, StandIn, User, problem},
};

const COMMANDS: [&str; 10] =
    ["status", "pending", "projections", "deliveries", "flush", "poll", "pause", "resume", "reload", "open --print"];

#[track_caller]
fn assert_ends(run: &Run, code: i32, words: &str) {
    assert_eq!(run.code, code, "{run:?}");
    assert!(run.err.starts_with("error: ") && run.err.contains(words), "{words:?}: {run:?}");
    assert_eq!(run.err.trim_end().lines().count(), 1, "{run:?}");
    assert!(!run.err.contains(StandIn::TOKEN) && !run.out.contains(StandIn::TOKEN), "{run:?}");
}

#[test]
fn without_a_daemon_every_command_ends_with_3_and_says_what_to_do() {
    let user = User::new();
    for command in COMMANDS {
        let run = user.run(command);
        assert_ends(&run, 3, "control.json does not exist; start one with `ograph-dispatcher run`");
        assert_eq!(run.out, "");
    }
}

#[test]
fn what_a_daemon_left_behind_is_recognised_and_its_token_is_sent_to_nobody() {
    let user = User::new();
    let daemon = StandIn::start();
    // No process has this id: it is above every limit.
    daemon.announce(&user.state_dir(), 2_000_000_000, StandIn::TOKEN);
    assert_ends(&user.run("status"), 3, "was left behind by process 2000000000, which has ended");
    assert_eq!(daemon.server.requests().len(), 0);
}

#[test]
fn a_refused_connection_is_no_daemon() {
    let user = User::new();
    drop(StandIn::of(&user));
    for command in COMMANDS {
        assert_ends(&user.run(command), 3, "connection refused");
    }
}

#[test]
fn a_file_that_no_daemon_wrote_is_no_daemon_and_is_not_quoted() {
    let user = User::new();
    let file = user.state_dir().join("control.json");
    for text in [
        "",
        "control-test-token",
        r#"{"pid":1}"#,
        r#"{"pid":1,"url":"ftp://control-test-token","token":"x"}"#,
        r#"{"pid":-1,"url":"http://127.0.0.1:1","token":"control-test-token"}"#,
    ] {
        user.write(&file, text);
        assert_ends(&user.run("status"), 3, "is not what a daemon writes");
    }
}

#[test]
fn the_token_comes_from_the_file_and_is_on_no_command_line() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    assert_eq!(user.run("poll").code, 0);
    let request = daemon.last();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/poll"));
    assert!(request.bears(StandIn::TOKEN));
}

#[test]
fn the_state_folder_is_found_whatever_else_is_wrong_with_the_configuration() {
    let user = User::new();
    let elsewhere = user.path("elsewhere");
    let daemon = StandIn::start();
    daemon.announce(&elsewhere, std::process::id(), StandIn::TOKEN);

    user.configure(&json!({"state": {"dir": elsewhere}, "ograph": 7, "intervals": {"watcherIdle": -1}}));
    assert_eq!(user.run("poll").code, 0, "from a file with errors elsewhere");
    user.configure(&json!({}));
    assert_eq!(user.run("poll").code, 3, "not from the default");
    for line in ["poll --state-dir elsewhere", "--state-dir elsewhere poll"] {
        assert_eq!(user.run(line).code, 0, "{line}");
    }
    let mut with_variable = user;
    with_variable.set("OGRAPH_STATE_DIR", elsewhere.to_str().expect("UTF-8"));
    assert_eq!(with_variable.run("poll").code, 0, "from the variable");
}

#[test]
fn a_broken_file_leads_to_the_default_folder_and_is_named_if_nobody_is_there() {
    let user = User::new();
    user.write(&user.path("config/ograph/dispatcher.json"), "{ \"ograph\": ");
    assert_ends(&user.run("status"), 3, "dispatcher.json:1:");
    let _daemon = StandIn::of(&user);
    assert_eq!(user.run("poll").code, 0);
}

#[test]
fn a_configuration_that_is_named_has_to_be_there() {
    let user = User::new();
    let _daemon = StandIn::of(&user);
    let run = user.run("status --config missing.json");
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.err.contains("missing.json"), "{run:?}");
}

#[test]
fn a_url_is_enough_with_the_token_in_its_variable() {
    let mut user = User::new();
    let daemon = StandIn::start();
    let line = format!("poll --url {}", daemon.server.url());
    assert_ends(&user.run(&line), 4, "demands a token; set OGRAPH_CONTROL_TOKEN");
    user.set("OGRAPH_CONTROL_TOKEN", StandIn::TOKEN);
    assert_eq!(user.run(&line).code, 0);
    user.set("OGRAPH_CONTROL_URL", format!("{}/behind/a/proxy/", daemon.server.url()));
    assert_eq!(user.run("poll").code, 0);
    assert_eq!(daemon.last().target, "/behind/a/proxy/v1/poll");
    assert_eq!(user.run("poll --state-dir nowhere").code, 3, "a flag is nearer than the variable");
}

#[test]
fn the_token_of_ones_own_daemon_goes_to_nobody_else() {
    let user = User::new();
    let (ours, other) = (StandIn::of(&user), StandIn::start());
    assert_eq!(user.run(&format!("poll --url {}", ours.server.url())).code, 0);
    assert_eq!(user.run(&format!("poll --url {}", other.server.url())).code, 4);
    assert_eq!(other.last().header("authorization"), None);
}

#[test]
fn urls_with_anything_secret_or_senseless_are_wrong_usage() {
    let user = User::new();
    for url in
        ["x", "ftp://h", "http://ann:control-test-token@h", "http://h/?t=control-test-token", "http://h/#token=x"]
    {
        assert_ends(&user.run(&format!("status --url {url}")), 2, "--url must be");
    }
}

#[test]
fn refusals_have_their_exit_codes_and_reasons() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    for (answer, code, words) in [
        (problem(401, "who are you?"), 4, "refuses the token in control.json: who are you?"),
        (problem(403, "not you"), 4, "not you"),
        (problem(409, "1 of 2 needed slots free"), 4, "error: 1 of 2 needed slots free"),
        (problem(421, "not my name"), 4, "use the daemon's address"),
        (problem(404, "no such call"), 1, "is the daemon older?"),
        (problem(500, "it broke"), 1, "it broke"),
        (problem(503, "the dispatcher has ended"), 1, "the dispatcher has ended"),
        (Answer::html(404), 1, "no ograph-dispatcher"),
        (Answer::html(200), 1, "no ograph-dispatcher"),
        (Answer::empty(302).header("location", "http://127.0.0.1:1/"), 1, "302"),
    ] {
        let what = format!("{answer:?}");
        daemon.answer(answer);
        let run = user.run("flush");
        assert_ends(&run, code, words);
        assert_eq!(run.out, "", "{what}");
    }
    for reply in
        [Reply::Reset, Reply::Truncated(Answer::json(200, &json!({"ok": true}))), Reply::Raw(b"hello".to_vec())]
    {
        daemon.answer(reply);
        assert_eq!(user.run("flush").code, 1);
    }
}

#[test]
fn words_of_the_daemon_cannot_control_the_terminal() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer(problem(409, "busy\u{1b}]0;owned\u{7}\r\n\u{202e}"));
    let run = user.run("flush");
    assert_eq!(run.err, "error: busy\\u{1b}]0;owned\\u{7}\\r\\n\\u{202e}\n");
}

#[test]
fn programs_that_ask_for_json_get_the_refusal_as_json() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer(problem(409, "no room"));
    for line in ["flush --json", "status --json", "poll --json", "pending --json"] {
        let run = user.run(line);
        assert_eq!((run.code, &run.json()["detail"]), (4, &json!("no room")), "{line}");
    }
}

#[test]
fn a_file_that_belongs_to_another_user_is_a_refusal() {
    use std::os::unix::fs::PermissionsExt as _;
    let user = User::new();
    let _daemon = StandIn::of(&user);
    let file = user.state_dir().join("control.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("permissions");
    // Root reads it all the same.
    if fs::read(&file).is_err() {
        assert_ends(&user.run("status"), 4, "is for the daemon's own user alone");
    }
}
