//! `pending`, `projections` and `deliveries`.

use serde_json::{Value, json};

use crate::user::{StandIn, User, ago};

#[test]
fn pending_changes_are_listed_by_receiver_with_what_changed() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let change = |key: &str, kind: &str, old: Value, new: Value| {
        json!({
            "projection": key, "name": key, "params": {}, "kind": kind, "old": old, "new": new, "patch": [], "merged": 3,
            "firstChangedAt": ago(125), "lastChangedAt": ago(4),
        })
    };
    let big: Value = serde_json::from_str("123456789012345678901234567890").expect("JSON");
    let answer = json!({"receivers": [
        {"receiver": "hook", "changes": [
            change("task?id=7", "changed", json!({"s": "todo"}), json!({"s": "done"})),
            change("big", "appeared", Value::Null, big),
        ]},
        {"receiver": "file", "changes": []},
    ]});
    daemon.answer_json(&answer);
    let run = user.run("pending");
    assert_eq!(run.code, 0, "{run:?}");
    let lines = run.lines();
    assert_eq!(lines[0], "RECEIVER PROJECTION KIND MERGED SINCE LAST CHANGE");
    assert!(lines[1].starts_with("hook task?id=7 changed 3 2 min "), "{lines:?}");
    assert!(lines[1].ends_with(r#" s ago {"s":"todo"} → {"s":"done"}"#), "{lines:?}");
    assert!(lines[2].ends_with("null → 123456789012345678901234567890"), "no digit is lost: {lines:?}");
    assert_eq!(lines.len(), 3);
    assert_eq!(user.run("pending --json").json(), answer);
    assert_eq!(daemon.last().target, "/v1/pending");
}

#[test]
fn long_and_hostile_values_stay_short_and_on_their_line() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    daemon.answer_json(&json!({"receivers": [{"receiver": "a\u{1b}[31m", "changes": [{
        "projection": "p\nforged", "kind": "changed", "old": "é".repeat(100_000), "new": "\u{1b}[2J\u{202e}",
        "merged": 1, "firstChangedAt": ago(0), "lastChangedAt": ago(0),
    }]}]}));
    let run = user.run("pending");
    assert_eq!(run.out.lines().count(), 2, "{run:?}");
    assert!(!run.out.contains(['\u{1b}', '\u{202e}']), "{run:?}");
    assert!(run.out.len() < 1_000, "{}", run.out.len());
}

#[test]
fn nothing_pending_is_said_in_words() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    for answer in [json!({"receivers": []}), json!({"receivers": [{"receiver": "a", "changes": []}]})] {
        daemon.answer_json(&answer);
        assert!(user.run("pending").out.starts_with("nothing is pending"));
    }
}

#[test]
fn projections_show_their_state_and_why_they_cannot_be_polled() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let trouble = json!({"error": "timeout", "message": "no answer", "since": ago(3_700), "failures": 9});
    let projection = |key: &str, present: bool, since: Value, failing: Value| json!({"projection": key, "name": key, "params": {}, "present": present, "since": since, "failing": failing});
    let answer = json!({"projections": [
        projection("a", true, json!(ago(60)), Value::Null),
        projection("bb", false, json!(ago(60)), Value::Null),
        projection("c", false, Value::Null, trouble),
    ]});
    daemon.answer_json(&answer);
    assert_eq!(
        user.run("projections").lines(),
        [
            "PROJECTION VALUE SINCE POLLING",
            "a present 1 min ago ok",
            "bb absent 1 min ago ok",
            "c not yet seen failing since 1 h 1 min ago, 9 polls: no answer",
        ]
    );
    assert_eq!(user.run("projections --json").json(), answer);
}

#[test]
fn deliveries_are_listed_as_many_as_wanted() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let answer = json!({"deliveries": [{
        "at": ago(12), "receiver": "hook", "batchId": "0190-x", "reason": "flush", "changes": 4, "outcome": "failed",
        "detail": "503", "tookMs": 250,
    }]});
    daemon.answer_json(&answer);
    let lines = user.run("deliveries --limit 5").lines();
    assert_eq!(daemon.last().target, "/v1/deliveries?limit=5");
    assert_eq!(lines[0], "WHEN RECEIVER OUTCOME CHANGES REASON TOOK BATCH DETAIL");
    assert!(lines[1].ends_with("s ago hook failed 4 flush 250 ms 0190-x 503"), "{lines:?}");
    assert_eq!(user.run("deliveries --json").json(), answer);
    assert_eq!(daemon.last().target, "/v1/deliveries?limit=20");
    for limit in ["0", "-1", "many", "1001"] {
        assert_eq!(user.run(&format!("deliveries --limit {limit}")).code, 2, "{limit}");
    }
    daemon.answer_json(&json!({"deliveries": []}));
    assert_eq!(user.run("deliveries").out, "nothing was delivered yet\n");
}

#[test]
fn an_answer_of_another_version_is_not_guessed_at() {
    let user = User::new();
    let daemon = StandIn::of(&user);
    let answer = json!({"something": "else"});
    daemon.answer_json(&answer);
    for command in ["pending", "projections", "deliveries", "status", "flush"] {
        let run = user.run(command);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains("is it of another version? --json shows the answer itself"), "{run:?}");
    }
    assert_eq!(user.run("pending --json").json(), answer);
}
