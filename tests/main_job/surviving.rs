//! What survives the end of the process, however it ends.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Job, Reply, change_of, wait_until};

#[test]
fn a_change_made_while_the_daemon_was_down_is_found() {
    let job = Job::new([("board", json!(1))]);
    let daemon = job.start();
    daemon.terminate();
    job.ograph.set("board", &json!(2));
    let daemon = job.setup.start();
    let document = job.wait_for_documents(1).remove(0);
    let change = change_of(&document, "board");
    assert_eq!((&change["old"], &change["new"]), (&json!(1), &json!(2)));

    daemon.kill();
    job.ograph.set("board", &json!(3));
    let _daemon = job.setup.start();
    wait_until(DEADLINE, "the next change is told", || {
        job.documents().iter().any(|document| change_of(document, "board")["new"] == 3)
    });
}

#[test]
fn a_change_that_waited_when_the_daemon_was_killed_is_pushed_by_the_next() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.set_available(0);
    let daemon = job.start();
    job.change("board", &json!(2));
    job.change("board", &json!(3));
    daemon.kill();
    job.openclaw.set_available(9);
    let _daemon = job.setup.start();
    let document = job.wait_for_documents(1).remove(0);
    let change = change_of(&document, "board");
    assert_eq!((&change["old"], &change["new"], &change["merged"]), (&json!(1), &json!(3), &json!(2)));
    job.assert_nothing_is_pending();
}

#[test]
fn cooldown_holds_over_a_restart() {
    let mut job = Job::new([("board", json!(0))]);
    let cooldown = Duration::from_secs(5);
    job.setup.config["intervals"]["cooldownAfterPush"] = json!(5_000);
    let daemon = job.start();
    job.change("board", &json!(1));
    job.wait_for_documents(1);
    let pushed = job.attempts()[0].at;
    // Long enough for the acknowledgement of the first push, too.
    job.ograph.set("board", &json!(2));
    job.wait_for_polls(5);
    daemon.kill();
    let polls = job.ograph.requests().len();
    let _daemon = job.setup.start();
    job.wait_for_documents(2);
    let apart = job.attempts()[1].at - pushed;
    // The deadline is kept in wall-clock time, in whole milliseconds.
    assert!(apart >= cooldown - Duration::from_millis(50), "the second push came {apart:?} after the first");
    let up = job.ograph.requests()[polls].at - pushed;
    assert!(up < cooldown, "the restarted daemon was up only after {up:?}, so this test has shown nothing");
}

#[test]
fn a_batch_whose_delivery_was_cut_off_by_a_crash_is_repeated_with_its_id_and_content() {
    let job = Job::new([("board", json!(1))]);
    job.openclaw.script_plugin([Reply::Hang]);
    let daemon = job.start();
    job.ograph.set("board", &json!(2));
    job.wait_for_documents(1);
    daemon.kill();
    let _daemon = job.setup.start();
    let documents = job.wait_for_documents(2);
    assert_eq!(documents[0], documents[1]);
    job.assert_nothing_is_pending();
    assert_eq!(job.attempts().len(), 3, "two attempts, and the marker");
}

#[test]
fn who_may_have_been_told_a_value_is_told_that_it_is_gone() {
    let job = Job::new([("board", json!("a"))]);
    job.openclaw.script_plugin([Reply::Hang]);
    let daemon = job.start();
    job.ograph.set("board", &json!("b"));
    job.wait_for_documents(1);
    daemon.kill();
    // For a receiver that was never told "b", nothing would have changed.
    job.ograph.set("board", &json!("a"));
    let _daemon = job.setup.start();
    wait_until(DEADLINE, "the last value told is the last one observed", || {
        told(&job).get("board") == Some(&json!("a"))
    });
    job.assert_nothing_is_pending();
}

#[test]
fn whatever_is_killed_when_the_last_values_told_are_the_last_ones_observed() {
    let names = ["a", "b", "c", "d"];
    let job = Job::new(names.map(|name| (name, json!(0))));
    job.start().kill();
    for round in 1..=8_u32 {
        let daemon = job.setup.start();
        let polled = &names[round as usize % names.len()];
        // Some deliveries are cut off too.
        if round % 3 == 0 {
            job.openclaw.script_plugin([Reply::Hang]);
        }
        for (number, name) in names.iter().enumerate() {
            job.ograph.set(name, &json!(round * 10 + number as u32));
        }
        // Each round is killed at another moment: after 1, 2, 3, … polls.
        job.ograph.wait_for_polls(&[polled], 1 + round as usize / 2, DEADLINE);
        daemon.kill();
    }
    job.openclaw.script_plugin([]);
    // What was told just before the last kill may be told again: only what comes with the marker is the end of it.
    job.ograph.set(Job::MARKER, &json!("settled"));
    let _daemon = job.setup.start();
    wait_until(DEADLINE, "everything was told", || {
        let told = told(&job);
        told.get(Job::MARKER) == Some(&json!("settled"))
            && names.iter().enumerate().all(|(number, name)| told.get(*name) == Some(&json!(80 + number)))
    });
    job.assert_nothing_is_pending();
    assert_eq!(job.ograph.overlapping().len(), 0);
}

/// What the receiver knows after all documents so far.
fn told(job: &Job) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    for document in job.documents() {
        for change in document["changes"].as_array().expect("changes") {
            told.insert(change["projection"].as_str().expect("a key").to_owned(), change["new"].clone());
        }
    }
    told
}

#[test]
fn a_damaged_store_is_set_aside_and_the_work_goes_on() {
    let job = Job::new([("board", json!(1))]);
    job.start().terminate();
    let files = || -> Vec<_> {
        let entries = fs::read_dir(job.setup.state_dir()).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let store = files().into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let garbage = b"this is no database\n".repeat(10_000);
    fs::write(&store, &garbage).unwrap();

    let mut daemon = job.start();
    daemon.wait_for_log("damaged", DEADLINE);
    let kept = files().into_iter().any(|path| path != store && fs::read(path).unwrap() == garbage);
    assert!(kept, "what was damaged is kept: {:?}", files());
    job.assert_nothing_to_tell();
    job.change("board", &json!(2));
    job.wait_for_documents(2);
    assert!(daemon.is_running());
}
