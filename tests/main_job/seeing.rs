//! What is a change, and what is none.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, DEADLINE, Job, Reply, change_of, wait_until};

#[test]
fn the_same_json_written_differently_is_no_change() {
    let job = Job::new([("board", json!({"a": 1, "b": [100, "é"]}))]);
    let _daemon = job.start();
    for text in [
        r#"{"b":[100,"é"],"a":1}"#,
        "{\n  \"a\" : 1,\n\t\"b\" : [ 100, \"é\" ]\n}",
        r#"{"a":1.0,"b":[1e2,"\u00e9"]}"#,
        r#"{"b":[10.0E+1,"\u00E9"],"a":100e-2}"#,
    ] {
        job.ograph.set_text("board", text);
        job.ograph.wait_for_polls(&["board"], 2, DEADLINE);
    }
    job.assert_nothing_to_tell();
}

#[test]
fn numbers_of_any_size_are_compared_and_delivered_without_loss() {
    let job = Job::new([("ids", json!({}))]);
    // As floating point numbers, these two are the same.
    let (old, new) = (
        r#"{"id":9007199254740993,"long":123456789012345678901234567890,"exact":0.10}"#,
        r#"{"id":9007199254740992,"long":123456789012345678901234567890,"exact":0.10}"#,
    );
    job.ograph.set_text("ids", old);
    let _daemon = job.start();
    job.ograph.set_text("ids", new);
    job.wait_for_documents(1);
    let body = String::from_utf8(job.attempts()[0].body.clone()).unwrap();
    for part in ["9007199254740993", "9007199254740992", "123456789012345678901234567890", "0.10"] {
        assert!(body.contains(part), "{part} is in {body}");
    }
}

#[test]
fn an_engine_without_tags_that_compresses_is_understood() {
    let job = Job::new([("board", json!("x".repeat(10_000)))]);
    job.ograph.use_etags(false);
    job.ograph.use_gzip(true);
    let _daemon = job.start();
    job.change("board", &json!("y".repeat(10_000)));
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(change_of(&document, "board")["new"], json!("y".repeat(10_000)));
    job.assert_nothing_is_pending();
}

#[test]
fn a_failed_partial_oversized_or_foreign_answer_is_never_a_change() {
    let good = Answer::json(200, &json!({"value": "something else"}));
    let large = Answer::json(200, &json!({"value": "x".repeat(100_000)}));
    let faults: Vec<(&str, Reply)> = vec![
        ("page", Answer::html(200).into()),
        ("portal", Answer::html(302).header("location", "http://127.0.0.1:1/login").into()),
        ("loop", Answer::empty(307).header("location", "/projections/loop").into()),
        ("error", Answer::json(500, &json!({"value": 1})).into()),
        ("gateway", Answer::html(502).into()),
        ("limited", Answer::json(429, &json!({"value": 1})).header("retry-after", "1").into()),
        ("forbidden", Answer::json(403, &json!({"value": 1})).into()),
        ("empty", Answer::text(200, "application/json", "").into()),
        ("no-content", Answer::empty(204).into()),
        ("large", large.into()),
        ("endless", Reply::Endless(Answer::json(200, &json!("x".repeat(1000))))),
        ("dripping", Reply::Drip(good.clone(), Duration::from_millis(100))),
        ("not-gzip", good.clone().header("content-encoding", "gzip").into()),
        ("garbage", Reply::Raw(b"{\"value\": \"something else\"}".to_vec())),
        ("truncated", Reply::Truncated(good)),
        ("reset", Reply::Reset),
        ("silent", Reply::Hang),
    ];
    let names: Vec<_> = faults.iter().map(|(name, _)| *name).collect();
    let mut job = Job::new(names.iter().map(|name| (*name, json!({"name": name}))));
    job.setup.config["ograph"]["maxBodyBytes"] = json!(65_536);
    let mut daemon = job.start();
    for (name, fault) in faults {
        job.ograph.fault(name, fault);
    }
    // What fails is asked for less and less often.
    job.ograph.wait_for_polls(&names, 2, Duration::from_secs(120));
    job.assert_nothing_to_tell();
    assert!(daemon.is_running());
    assert_eq!(job.ograph.overlapping().len(), 0);

    for name in &names {
        job.ograph.set(name, &json!({"name": name, "recovered": true}));
        job.ograph.fault(name, None);
    }
    wait_until(Duration::from_secs(120), "all recover", || {
        let documents = job.documents();
        let changes: Vec<_> = documents.iter().flat_map(|document| document["changes"].as_array()).flatten().collect();
        names.iter().all(|name| {
            changes.iter().any(|change| change["projection"] == *name && change["new"]["recovered"] == true)
        })
    });
}

#[test]
fn a_projection_appears_and_is_removed_only_after_it_stayed_away() {
    let job = Job::new([("board", json!({"open": 1}))]);
    job.ograph.remove("board");
    let _daemon = job.start();
    job.ograph.wait_for_polls(&["board"], 5, DEADLINE);
    job.ograph.set("board", &json!({"open": 2}));
    let document = job.wait_for_documents(1).remove(0);
    let change = change_of(&document, "board");
    assert_eq!(
        (&change["kind"], &change["old"], &change["new"]),
        (&json!("appeared"), &json!(null), &json!({"open": 2}))
    );

    let before = job.ograph.polls("board");
    job.ograph.remove("board");
    let document = job.wait_for_documents(2).remove(1);
    let change = change_of(&document, "board");
    assert_eq!(
        (&change["kind"], &change["old"], &change["new"]),
        (&json!("removed"), &json!({"open": 2}), &json!(null))
    );
    let pushed = job.attempts()[1].at;
    let requests = job.ograph.requests();
    let asked = requests.iter().filter(|request| request.path() == "/projections/board" && request.at < pushed).count();
    assert!(asked - before >= 2, "removed after {} polls", asked - before);
    job.assert_nothing_is_pending();
}

#[test]
fn a_projection_that_is_missed_once_is_not_removed() {
    let job = Job::new([("board", json!(1))]);
    let _daemon = job.start();
    job.ograph.fault_next(1, "board", Answer::json(404, &json!({"error": {"message": "Not found"}})));
    job.ograph.wait_for_polls(&["board"], 4, DEADLINE);
    job.assert_nothing_to_tell();
}

#[test]
fn an_outage_is_no_removal() {
    let names = ["board", "task?task_id=7", "task?task_id=9"];
    let job = Job::new(names.map(|name| (name, json!({"name": name}))));
    let _daemon = job.start();
    job.ograph.fault_for_all(Reply::from(Answer::json(404, &json!({"error": {"message": "Not found"}}))));
    job.ograph.wait_for_polls(&names, 8, Duration::from_secs(60));
    assert_eq!(job.attempts().len(), 0, "all of them at once are not removed");
    job.ograph.fault_for_all(None);
    job.ograph.wait_for_polls(&names, 3, Duration::from_secs(60));
    job.assert_nothing_to_tell();
}
