//! When something is pushed, and what is in it.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Client, DEADLINE, Job, Reply, change_of, keys, wait_until};

#[test]
fn a_gateway_that_is_down_is_said_once_however_often_it_is_dialled() {
    let mut job = Job::new([("board", json!(1))]).with_control();
    // Nobody listens there.
    job.setup.config["oc"] = json!({"gateway": {"url": "ws://127.0.0.1:1", "token": "t"}});
    let daemon = job.start();
    job.change("board", &json!(2));
    let said = daemon.wait_for_log("availability unknown, nothing is pushed: ", DEADLINE);
    // It is dialled at once and after about 1 s; the polls in between hear that it is too early.
    let client = Client::of(&job.setup);
    wait_until(DEADLINE, "it is dialled again", || {
        let metrics = client.get("/metrics").text();
        let polls = metrics.lines().filter_map(|line| line.split_once("availability_polls_total{")?.1.split_once(' '));
        polls.map(|(_, count)| count.parse::<u64>().expect("a number")).sum::<u64>() > 6
    });
    assert_eq!(daemon.count_log("availability unknown, nothing"), 1, "{said}: {:#?}", daemon.log());
    daemon.terminate();
}

#[test]
fn the_baseline_is_silent() {
    let mut job = Job::new([("board", json!({"open": 3})), ("task?task_id=7", json!(null)), ("empty", json!({}))]);
    let file = job.setup.path("dispatch.json");
    job.setup.config["push"]["dispatchFile"] = json!(file);
    let _daemon = job.start();
    job.wait_for_polls(5);
    assert!(!file.exists(), "nobody is told about the first values");
    job.assert_nothing_to_tell();
}

#[test]
fn changes_merge_while_openclaw_is_busy_and_are_pushed_once_when_it_frees_up() {
    let job = Job::new([("board", json!({"open": 1})), ("task?task_id=7", json!("todo"))]);
    job.openclaw.set_available(1);
    let _daemon = job.start();
    job.change("board", &json!({"open": 2}));
    job.change("task?task_id=7", &json!("review"));
    job.change("board", &json!({"open": 3}));
    job.openclaw.wait_for_status_polls(5, DEADLINE);
    assert_eq!(job.attempts().len(), 0, "one free slot is less than minAvailable");

    job.openclaw.set_available(2);
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(keys(&document), ["board", "task?task_id=7"], "in the order of their first change");
    assert_eq!(document["reason"], "available");
    assert_eq!(document["availability"], json!({"available": 2, "minAvailable": 2}));
    let board = change_of(&document, "board");
    assert_eq!((&board["old"], &board["new"]), (&json!({"open": 1}), &json!({"open": 3})));
    assert_eq!((&board["kind"], &board["merged"]), (&json!("changed"), &json!(2)));
    assert!(board["firstChangedAt"].as_str() < board["lastChangedAt"].as_str(), "{board:#}");
    let task = change_of(&document, "task?task_id=7");
    assert_eq!((&task["merged"], &task["firstChangedAt"]), (&json!(1), &task["lastChangedAt"]));
    job.assert_nothing_is_pending();
    assert_eq!(job.attempts().len(), 2, "one push, and one for the marker");
}

#[test]
fn nothing_is_pushed_while_the_availability_is_unknown() {
    let job = Job::new([("board", json!(1))]);
    let unauthorized = json!({"error": {"message": "Unauthorized", "type": "unauthorized"}});
    let plenty = Answer::json(200, &json!({"available": 9}));
    let faults: [(&str, Reply); 11] = [
        ("401", Answer::json(401, &unauthorized).into()),
        ("404", Answer::text(404, "text/plain", "Not Found").into()),
        ("503", Answer { status: 503, ..plenty.clone() }.into()),
        ("the web page", Answer::html(200).into()),
        ("an empty body", Answer::text(200, "application/json", "").into()),
        ("other JSON", Answer::json(200, &json!({"ok": true})).into()),
        ("slots in words", Answer::json(200, &json!({"available": "9"})).into()),
        ("garbage", Reply::Raw(b"\x16\x03\x01 available: 9\r\n\r\n".to_vec())),
        ("half an answer", Reply::Truncated(plenty)),
        ("a reset", Reply::Reset),
        ("silence", Reply::Hang),
    ];
    job.openclaw.answer_status_with(faults[0].1.clone());
    let _daemon = job.start();
    job.change("board", &json!(2));
    for (name, fault) in faults {
        job.openclaw.answer_status_with(fault);
        // The second poll shows that the answer to the first was believed or not.
        job.openclaw.wait_for_status_polls(2, Duration::from_secs(60));
        assert_eq!(job.attempts().len(), 0, "pushed although the availability was {name}");
    }
    job.openclaw.set_available(2);
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(change_of(&document, "board")["new"], 2);
}

#[test]
fn cooldown_holds_the_next_push_back() {
    let mut job = Job::new([("board", json!(0))]);
    let cooldown = Duration::from_secs(3);
    job.setup.config["intervals"]["cooldownAfterPush"] = json!(3_000);
    let _daemon = job.start();
    job.change("board", &json!(1));
    job.wait_for_documents(1);
    job.change("board", &json!(2));
    job.change("board", &json!(3));
    let document = job.wait_for_documents(2).remove(1);
    let change = change_of(&document, "board");
    assert_eq!((&change["old"], &change["new"], &change["merged"]), (&json!(1), &json!(3), &json!(2)));
    let attempts = job.attempts();
    let apart = attempts[1].at - attempts[0].at;
    assert!(apart >= cooldown, "the second push came {apart:?} after the first");
}

#[test]
fn a_change_that_is_undone_while_openclaw_is_busy_vanishes() {
    let job = Job::new([("board", json!({"status": "todo"}))]);
    job.openclaw.set_available(0);
    let _daemon = job.start();
    job.change("board", &json!({"status": "review"}));
    job.change("board", &json!({"status": "done"}));
    job.change("board", &json!({"status": "todo"}));
    job.openclaw.set_available(9);
    job.assert_nothing_to_tell();
}

#[test]
fn a_change_that_is_undone_after_it_was_pushed_is_told_too() {
    let job = Job::new([("board", json!("a"))]);
    let _daemon = job.start();
    job.change("board", &json!("b"));
    job.wait_for_documents(1);
    job.change("board", &json!("a"));
    let document = job.wait_for_documents(2).remove(1);
    let change = change_of(&document, "board");
    assert_eq!((&change["old"], &change["new"]), (&json!("b"), &json!("a")));
    job.assert_nothing_is_pending();
}
