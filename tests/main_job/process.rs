//! The process itself: signals, exit codes, who may run, what it says.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, DEADLINE, Daemon, Job, Reply, Signal, change_of, observe_for, wait_until};

#[test]
fn sigterm_and_sigint_end_it_with_0_within_10_s() {
    for signal in [Signal::TERM, Signal::INT] {
        let job = Job::new([("board", json!(1)), ("silent", json!(1))]);
        let mut daemon = job.start();
        job.ograph.fault("silent", Reply::Hang);
        wait_until(DEADLINE, "a poll hangs", || job.ograph.unanswered("silent") == 1);
        daemon.signal(signal);
        assert_eq!(daemon.wait_exit(Duration::from_secs(10)).code(), Some(0), "after {signal:?}");
    }
}

#[test]
fn a_push_in_flight_is_finished_before_the_end() {
    let job = Job::new([("board", json!(1))]);
    let accepted = Answer::json(200, &json!({"ok": true}));
    job.openclaw.script_plugin([Reply::Late(Duration::from_secs(1), Box::new(accepted.into()))]);
    let daemon = job.start();
    job.ograph.set("board", &json!(2));
    job.wait_for_documents(1);
    daemon.terminate();
    let _daemon = job.start();
    job.assert_nothing_is_pending();
    assert_eq!(job.attempts().len(), 2, "the push was acknowledged, so it is not repeated");
}

#[test]
fn a_push_in_flight_that_never_ends_does_not_hold_the_end_up() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.script_plugin([Reply::Hang]);
    let mut daemon = job.start();
    job.ograph.set("board", &json!(2));
    let first = job.wait_for_documents(1).remove(0);
    daemon.signal(Signal::TERM);
    daemon.wait_exit(Duration::from_secs(15));
    let _daemon = job.setup.start();
    assert_eq!(job.wait_for_documents(2)[1], first, "it is repeated by the next");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.script_plugin([Reply::Hang]);
    let mut daemon = job.start();
    job.ograph.set("board", &json!(2));
    job.wait_for_documents(1);
    daemon.signal(Signal::TERM);
    // Signals of the same kind that wait to be handled are one: the second must come after the first was seen.
    wait_until(Duration::from_secs(5), "it ends before the time that a push in flight is given", || {
        if daemon.is_running() {
            daemon.signal(Signal::INT);
        }
        !daemon.is_running()
    });
}

#[test]
fn sigusr1_pushes_what_is_true_now_although_openclaw_is_busy() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.set_available(0);
    let daemon = job.start();
    job.change("board", &json!(2));
    job.openclaw.wait_for_status_polls(3, DEADLINE);
    assert_eq!(job.attempts().len(), 0);
    // Not yet seen: the flush looks itself.
    job.ograph.set("board", &json!(3));
    daemon.signal(Signal::USR1);
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(document["reason"], "flush");
    assert_eq!(document["availability"]["minAvailable"], 2);
    assert_eq!(change_of(&document, "board")["new"], 3);
}

#[test]
fn sigusr1_pushes_even_if_nobody_knows_how_busy_openclaw_is() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.answer_status_with(Answer::html(503));
    let daemon = job.start();
    job.change("board", &json!(2));
    daemon.signal(Signal::USR1);
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(document["reason"], "flush");
    assert_eq!(document["availability"], json!({"available": null, "minAvailable": 2}));
}

#[test]
fn sigusr1_pushes_during_cooldown_too() {
    let mut job = Job::new([("board", json!(1))]);
    job.setup.config["intervals"]["cooldownAfterPush"] = json!(600_000);
    let daemon = job.start();
    job.change("board", &json!(2));
    job.wait_for_documents(1);
    job.change("board", &json!(3));
    daemon.signal(Signal::USR1);
    let document = job.wait_for_documents(2).remove(1);
    assert_eq!((&document["reason"], &change_of(&document, "board")["new"]), (&json!("flush"), &json!(3)));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let job = Job::new([("board", json!(1))]);
    let mut first = job.start();
    let mut second = job.setup.start();
    let code = second.wait_exit(DEADLINE).code();
    assert!(matches!(code, Some(1 | 2)), "exit code {code:?}");
    let line = second.wait_for_log("in use", DEADLINE);
    assert!(line.contains("state"), "it says which state: {line}");
    job.assert_nothing_is_pending();
    assert!(first.is_running());
}

#[test]
fn a_wrong_token_is_said_once_and_stops_the_hammering() {
    let names: Vec<_> = (0..10).map(|id| format!("task?task_id={id}")).collect();
    let mut job = Job::new(names.iter().map(|name| (name.as_str(), json!(1))));
    job.setup.config["ograph"]["token"] = json!("not-the-token");
    let mut daemon = job.setup.start();
    wait_until(DEADLINE, "it says that the token is refused", || !complaints(&daemon).is_empty());

    observe_for(Duration::from_secs(2));
    let before = job.ograph.requests().len();
    observe_for(Duration::from_secs(2));
    let requests = job.ograph.requests().len() - before;
    // At the usual pace it would be more than 200.
    assert!(requests <= 20, "{requests} requests in 2 s with a refused token");
    assert!(daemon.is_running(), "somebody may still repair it");
    let complaints = complaints(&daemon);
    assert_eq!(complaints.len(), 1, "one line for all projections, not one per poll: {complaints:#?}");
    assert_eq!(daemon.count_log("not-the-token"), 0, "the token is not logged");
    assert_eq!(job.attempts().len(), 0);
}

/// The warnings and errors about the token.
fn complaints(daemon: &Daemon) -> Vec<String> {
    let about_the_token = |line: &String| {
        let line = line.to_lowercase();
        (line.contains("warn") || line.contains("error"))
            && ["401", "unauthor", "token"].iter().any(|word| line.contains(word))
    };
    daemon.log().into_iter().filter(about_the_token).collect()
}
