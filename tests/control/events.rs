//! Events as they happen, over the wire and in the file.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Job, Signal, wait_for, wait_until};

fn job() -> Job {
    Job::new([("board", json!(1))]).with_control()
}

#[test]
fn a_listener_sees_a_change_travel_from_ograph_to_the_receiver() {
    let job = job();
    let _daemon = job.start();
    let mut events = Client::of(&job.setup).listen(None);
    assert_eq!(events.wait_for("hello").data, json!({"resumed": false}));
    job.ograph.set("board", &json!(2));
    let changed = events.wait_for("changed");
    assert_eq!((&changed.data["projection"], &changed.data["effect"]), (&json!("board"), &json!("added")));
    let pushing = events.wait_for("pushing");
    assert_eq!(pushing.data["projections"], json!(["board"]));
    let pushed = events.wait_for("pushed");
    assert_eq!(pushed.data["batchId"], pushing.data["batchId"]);
    assert_eq!(pushed.data["outcome"], "delivered");
}

#[test]
fn who_comes_back_gets_what_was_missed_and_who_comes_from_another_process_begins_anew() {
    let job = job();
    let daemon = job.start();
    let client = Client::of(&job.setup);
    let mut events = client.listen(None);
    job.ograph.set("board", &json!(2));
    let changed = events.wait_for("changed");
    drop(events);
    job.wait_for_documents(1);
    let mut again = client.listen(Some(&changed.id));
    assert_eq!(again.wait_for("hello").data, json!({"resumed": true}));
    let pushed = again.wait_for("pushed");
    assert!(number(&pushed.id) > number(&changed.id), "{} after {}", pushed.id, changed.id);
    daemon.terminate();

    let _daemon = job.start();
    let mut elsewhere = Client::of(&job.setup).listen(Some(&pushed.id));
    assert_eq!(elsewhere.wait_for("hello").data, json!({"resumed": false}));
}

fn number(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("instance and number")
}

#[test]
fn the_audit_trail_is_appended_to_a_file_of_the_users_choice() {
    let mut job = job();
    let path = job.setup.path("audit.jsonl");
    job.setup.config["log"] = json!({"eventsFile": path});
    fs::write(&path, "{\"type\":\"before\"}\n").unwrap();
    let daemon = job.start();
    job.ograph.set("board", &json!(2));
    job.wait_for_documents(1);
    let types = || -> Vec<String> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let event = |line: &str| serde_json::from_str::<Value>(line).expect("one JSON a line")["type"].clone();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| event(line).as_str().expect("a type").to_owned())
            .collect()
    };
    wait_until(DEADLINE, "the push is written", || types().iter().any(|kind| kind == "pushed"));
    assert_eq!(types()[0], "before", "what was there stays");
    for kind in ["baseline", "changed", "pushing"] {
        assert!(types().iter().any(|it| it == kind), "{kind} in {:?}", types());
    }

    // What programs that rotate logs do.
    fs::rename(&path, job.setup.path("audit.jsonl.1")).unwrap();
    daemon.signal(Signal::HUP);
    wait_for(DEADLINE, "a new file", || fs::metadata(&path).ok());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    wait_until(DEADLINE, "the reload is in it", || types().first().is_some_and(|kind| kind == "reloaded"));
    daemon.terminate();
}

#[test]
fn an_events_file_that_cannot_be_opened_is_said_before_anything_starts() {
    let mut job = job();
    job.setup.config["log"] = json!({"eventsFile": "/nowhere/at/all/audit.jsonl"});
    let mut daemon = job.setup.start();
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(1));
    daemon.wait_for_log("log.eventsFile", DEADLINE);
}
