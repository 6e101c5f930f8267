//! The calls themselves: what is shown, and what is done.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, DEADLINE, Job, Reply, keys, observe_for, wait_for, wait_until};

fn job() -> Job {
    Job::new([("board", json!({"status": "todo"}))]).with_control()
}

/// The status, as soon as `condition` holds for it.
#[track_caller]
fn status_when(client: &Client, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    wait_for(DEADLINE, what, || Some(client.json("/v1/status")).filter(|status| condition(status)))
}

fn condition<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["conditions"].as_array().expect("a list").iter().find(|condition| condition["name"] == name)
}

#[test]
fn the_status_says_everything_in_the_shape_of_the_contract() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let status = status_when(&client, "idle", |status| status["scheduler"]["state"] == "idle");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptimeMs"].is_u64() && status["startedAt"].is_string());
    assert_eq!((&status["ready"], &status["conditions"]), (&json!(true), &json!([])));
    for actor in ["supervisor", "watcher", "pending", "scheduler"] {
        assert_eq!(status["actors"][actor], json!({"state": "running", "restarts": 0, "lastPanic": null}));
    }
    let watcher = &status["watcher"];
    assert_eq!((&watcher["projections"], &watcher["errors"]), (&json!(2), &json!([])));
    assert!(watcher["intervalMs"].is_u64() && watcher["lastSweepAt"].is_string() && watcher["polls"].is_u64());
    let scheduler = &status["scheduler"];
    assert_eq!(scheduler["reason"], "nothing is pending");
    assert_eq!(scheduler["availability"]["minAvailable"], 2);
    let receiver = &status["receivers"][0];
    assert_eq!((&receiver["pending"], &receiver["lastError"]), (&json!(0), &Value::Null));
    assert_eq!(receiver["reason"], "knows everything");
}

#[test]
fn why_nothing_is_sent_is_said_in_words() {
    let mut job = job();
    job.setup.config["intervals"]["cooldownAfterPush"] = json!(600_000);
    job.openclaw.set_available(1);
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("board", &json!({"status": "done"}));
    let reason = |status: &Value| status["scheduler"]["reason"].as_str().unwrap().to_owned();
    let says = |parts: &'static [&str]| move |status: &Value| parts.iter().all(|part| reason(status).contains(part));
    status_when(&client, "why it waits", says(&["1 of 2 needed slots free", "since", "UTC"]));

    job.openclaw.answer_status_with(Answer::html(503));
    let status = status_when(&client, "that nobody knows", says(&["availability unknown", "503"]));
    assert_eq!(condition(&status, "availability.unknown").unwrap()["severity"], "warning");
    assert_eq!(status["ready"], true, "waiting is its job");

    job.openclaw.set_available(9);
    job.wait_for_documents(1);
    job.ograph.set("board", &json!({"status": "again"}));
    status_when(&client, "the cooldown", says(&["cooling down, 9 min", "s left; 1 change pending"]));

    assert_eq!(client.post("/v1/pause", "").status, 200);
    status_when(&client, "the pause", says(&["paused by hand since", "1 change pending"]));
}

#[test]
fn a_failing_receiver_is_named_with_its_error_and_its_next_attempt() {
    let job = job();
    let refusal = Answer::text(500, "text/plain", "no");
    job.openclaw.script_plugin((0..50).map(|_| Reply::from(refusal.clone())));
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("board", &json!({"status": "done"}));
    let status = status_when(&client, "the failure", |status| {
        let reason = status["scheduler"]["reason"].as_str().unwrap();
        ["failing since", "500", "next attempt in"].iter().all(|part| reason.contains(part))
    });
    let receiver = &status["receivers"][0];
    assert!(receiver["nextRetryAt"].is_string() && receiver["failures"].as_u64() > Some(0), "{receiver}");
    assert!(receiver["lastError"].as_str().unwrap().contains("500"));
    assert_eq!(condition(&status, "receiver.failing").unwrap()["subject"], receiver["receiver"]);
    let metrics = client.get("/metrics").text();
    assert!(
        metrics.contains("ograph_dispatcher_condition{name=\"receiver.failing\",severity=\"warning\""),
        "{metrics}"
    );
    assert!(metrics.contains("outcome=\"failed\"}"), "{metrics}");
}

#[test]
fn a_refused_token_makes_it_not_ready_and_is_said_everywhere() {
    let mut job = job();
    job.setup.config["ograph"]["token"] = json!("not-the-token");
    let _daemon = job.setup.start();
    let client = Client::of(&job.setup);
    let status = status_when(&client, "the refusal", |status| condition(status, "source.refused").is_some());
    assert!(status["scheduler"]["reason"].as_str().unwrap().contains("OGraph refuses the token"));
    assert_eq!(status["ready"], false);
    assert_eq!(client.get("/healthz").status, 200, "it is alive all the same");
    let ready = client.get("/readyz");
    assert_eq!((ready.status, ready.header("content-type")), (503, Some("application/problem+json")));
    assert_eq!(ready.json()["reasons"], json!(["source.refused"]));
    assert!(client.get("/metrics").text().contains("ograph_dispatcher_ready 0\n"));
}

#[test]
fn lists_show_projections_pending_changes_and_deliveries() {
    let job = job();
    job.openclaw.set_available(0);
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("board", &json!({"status": "doing", "id": 12_345_678_901_234_567_890_u64}));
    let pending = wait_for(DEADLINE, "the change is pending", || {
        let pending = client.json("/v1/pending");
        Some(pending["receivers"][0]["changes"][0].clone()).filter(Value::is_object)
    });
    assert_eq!((&pending["projection"], &pending["kind"]), (&json!("board"), &json!("changed")));
    assert_eq!((&pending["old"]["status"], &pending["new"]["status"]), (&json!("todo"), &json!("doing")));
    assert_eq!(pending["new"]["id"].to_string(), "12345678901234567890");
    assert!(pending["patch"].as_array().is_some_and(|patch| patch.len() == 2));

    let projections = client.json("/v1/projections");
    let board = projections["projections"].as_array().unwrap().iter().find(|it| it["name"] == "board").unwrap();
    assert_eq!((&board["present"], &board["failing"]), (&json!(true), &Value::Null));

    assert_eq!(client.json("/v1/deliveries"), json!({"deliveries": []}));
    let flushed = client.post("/v1/flush", "").json();
    let deliveries = client.json("/v1/deliveries?limit=5");
    let delivery = &deliveries["deliveries"][0];
    assert_eq!(delivery["batchId"], flushed["batches"][0]["batchId"]);
    assert_eq!((&delivery["reason"], &delivery["outcome"]), (&json!("flush"), &json!("delivered")));
}

#[test]
fn a_flush_polls_pushes_and_reports_and_keeps_the_check_if_it_is_told_to() {
    let job = job();
    job.openclaw.set_available(1);
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("board", &json!({"status": "done"}));
    let busy = client.post("/v1/flush", "{\"whenAvailable\":true}");
    assert_eq!(busy.status, 409);
    assert!(busy.json()["detail"].as_str().unwrap().contains("1 of 2 needed slots free"));
    assert_eq!(job.attempts().len(), 0);

    // Not yet seen: the flush looks itself.
    job.ograph.set("board", &json!({"status": "cancelled"}));
    let report = client.post("/v1/flush", "{}").json();
    assert_eq!(report["delivered"], 1);
    let batch = &report["batches"][0];
    assert_eq!((&batch["changes"], &batch["outcome"]), (&json!(1), &json!("delivered")));
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(document["batchId"], batch["batchId"]);
    assert_eq!(document["changes"][0]["new"], json!({"status": "cancelled"}));

    assert_eq!(client.post("/v1/flush", "").json(), json!({"delivered": 0, "batches": []}));
    job.openclaw.set_available(2);
    job.ograph.set("board", &json!({"status": "todo"}));
    assert_eq!(client.post("/v1/flush", "{\"whenAvailable\":true}").status, 200);
}

#[test]
fn a_pause_holds_pushes_back_also_over_a_restart_and_resume_lets_them_go() {
    let job = job();
    let daemon = job.start();
    assert_eq!(Client::of(&job.setup).post("/v1/pause", "").json(), json!({"ok": true}));
    daemon.terminate();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.change("board", &json!({"status": "done"}));
    observe_for(Duration::from_millis(500));
    assert_eq!(job.attempts().len(), 0);
    let status = client.json("/v1/status");
    assert_eq!((&status["scheduler"]["state"], &status["ready"]), (&json!("paused"), &json!(true)));
    assert_eq!(client.post("/v1/resume", "").status, 200);
    job.wait_for_documents(1);
}

#[test]
fn a_poll_is_done_when_it_is_answered() {
    let mut job = job();
    job.setup.config["intervals"]["watcherIdle"] = json!(3_600_000);
    job.setup.config["intervals"]["watcherActive"] = json!(3_600_000);
    let _daemon = job.setup.start();
    let client = Client::of(&job.setup);
    status_when(&client, "the first poll", |status| status["watcher"]["polls"].as_u64() >= Some(2));
    let before = job.ograph.polls("board");
    assert_eq!(client.post("/v1/poll", "").json(), json!({"ok": true}));
    assert_eq!(job.ograph.polls("board"), before + 1);
}

#[test]
fn reactions_of_ograph_make_it_poll_and_a_burst_is_one_or_two_polls() {
    let mut job = job();
    job.setup.config["intervals"]["watcherIdle"] = json!(3_600_000);
    job.setup.config["intervals"]["watcherActive"] = json!(3_600_000);
    let _daemon = job.setup.start();
    let client = Client::of(&job.setup);
    let status = status_when(&client, "the first poll", |status| status["watcher"]["polls"].as_u64() >= Some(2));
    let hook = status["webhook"].as_str().unwrap();
    // OGraph can be given a URL, but no header.
    let stranger = [("Host".to_owned(), client.address.to_string())];
    let reaction = json!({"old_value": 1, "new_value": {"a": 2}, "params": {}, "event": {"type": "t", "payload": {}}});
    let react = |path: &str, body: &[u8]| client.send("POST", path, &stranger, body).status;
    job.ograph.set("board", &json!({"status": "reacted"}));
    assert_eq!(react(hook, reaction.to_string().as_bytes()), 202);
    let document = job.wait_for_documents(1).remove(0);
    assert_eq!(keys(&document), ["board"]);

    assert_eq!(react(hook, b"not json"), 400);
    assert_eq!(react(hook, b"[]"), 400);
    assert_eq!(react(hook, b""), 400);
    assert_eq!(react("/v1/hooks/ograph", b"{}"), 401);
    assert_eq!(react("/v1/hooks/ograph?key=00", b"{}"), 401);
    let key = hook.split_once('?').unwrap().1;
    assert_eq!(react(&format!("/v1/flush?{key}"), b"{}"), 401, "the key opens nothing else");

    let hang = Reply::Late(Duration::from_millis(500), Box::new(Answer::json(200, &json!({"value": 3})).into()));
    job.ograph.fault("board", hang);
    let before = job.ograph.polls("board");
    for _ in 0..50 {
        assert_eq!(react(hook, b"{}"), 202);
    }
    wait_until(DEADLINE, "a poll", || job.ograph.polls("board") > before);
    observe_for(Duration::from_secs(2));
    let polls = job.ograph.polls("board") - before;
    assert!((1..=4).contains(&polls), "{polls} polls for a burst of 50");
}

#[test]
fn metrics_tell_what_has_happened() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("board", &json!({"status": "done"}));
    job.wait_for_documents(1);
    status_when(&client, "the delivery is settled", |status| !status["receivers"][0]["lastDelivery"].is_null());
    let response = client.get("/metrics");
    assert!(response.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text();
    for line in [
        "ograph_dispatcher_changes_total{kind=\"changed\"} 1",
        "ograph_dispatcher_projections 2",
        "ograph_dispatcher_required_slots 2",
        "ograph_dispatcher_ready 1",
        "ograph_dispatcher_actor_restarts_total{actor=\"watcher\",cause=\"panic\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    for part in [
        "ograph_dispatcher_build_info{version=",
        "ograph_dispatcher_polls_total{outcome=\"unchanged\"}",
        "ograph_dispatcher_sweep_duration_seconds_bucket{le=\"+Inf\"}",
        "ograph_dispatcher_store_commit_duration_seconds_count",
        "ograph_dispatcher_oldest_pending_age_seconds{receiver=",
        "outcome=\"delivered\"} 1",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}
