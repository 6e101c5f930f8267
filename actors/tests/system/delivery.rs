//! Who is told what, and when.

use std::time::Duration;

use ograph_dispatcher_actors::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    model::{availability::Free, document::ChangeKind},
    receivers::{DeliveryErrorKind, Reached},
    settings::FirstSeen,
    source::{SourceError, SourceErrorKind},
    status::Phase,
    store::{MemoryStore, Outcome},
};
use serde_json::json;

use crate::support::{Answer, Delivery, Disk, World, seconds};

const RETRY: DeliveryErrorKind = DeliveryErrorKind::Retry { after: None };

#[actix::test]
async fn the_first_value_is_the_baseline_and_silent() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(600.0).await;
    assert!(world.attempts("a").is_empty());
}

#[actix::test]
async fn the_first_value_is_a_change_if_so_configured() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let mut setup = world.setup(&["tasks"], &["a"]);
    setup.settings.watch.first_seen = FirstSeen::Change;
    let _handle = world.start(setup, MemoryStore::default());
    seconds(1.0).await;
    let told = world.told("a");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.changes[0].kind, ChangeKind::Appeared);
}

#[actix::test]
async fn every_receiver_of_a_push_gets_the_same_document() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks?user=7", json!({"open": 1}));
    let _handle = world.start(world.setup(&["tasks?user=7"], &["a", "b", "c"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks?user=7", json!({"open": 2}));
    seconds(60.0).await;
    let documents: Vec<_> =
        ["a", "b", "c"].map(|id| serde_json::to_value(&world.told(id)[0].1).expect("JSON")).into_iter().collect();
    assert_eq!(documents[0], documents[1]);
    assert_eq!(documents[0], documents[2]);
    let batch_id = documents[0]["batchId"].clone();
    let created_at = documents[0]["createdAt"].clone();
    let changed_at = documents[0]["changes"][0]["firstChangedAt"].clone();
    assert!(changed_at.as_str().is_some_and(|at| at.starts_with("1970-01-01T00:00:30.0")), "{changed_at}");
    assert_eq!(
        documents[0],
        json!({
            "version": 1,
            "batchId": batch_id,
            "createdAt": created_at,
            "reason": "available",
            "availability": {"available": 2, "minAvailable": 2},
            "changes": [{
                "projection": "tasks?user=7",
                "name": "tasks",
                "params": {"user": "7"},
                "kind": "changed",
                "old": {"open": 1},
                "new": {"open": 2},
                "patch": [{"op": "replace", "path": "/open", "value": 2}],
                "merged": 1,
                "firstChangedAt": changed_at,
                "lastChangedAt": changed_at,
            }],
        })
    );
}

#[actix::test]
async fn a_change_that_is_undone_while_there_is_no_room_vanishes() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!("A"));
    world.slots(0);
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!("B"));
    seconds(21.0).await;
    assert_eq!(handle.status().receivers[0].pending, 1);
    world.set("tasks", json!("A"));
    seconds(5.0).await;
    assert_eq!(handle.status().receivers[0].pending, 0);
    world.slots(9);
    seconds(600.0).await;
    assert!(world.attempts("a").is_empty());
}

#[actix::test]
async fn nothing_is_pushed_while_the_availability_is_unknown_and_status_says_why() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.state().room = Err(AvailabilityError::new(AvailabilityErrorKind::Unauthorized, "the token is refused"));
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(600.0).await;
    assert!(world.attempts("a").is_empty());
    let scheduler = handle.status().scheduler;
    assert_eq!(scheduler.state, Some(Phase::Waiting));
    assert_eq!(scheduler.reason, "1 change pending: availability unknown: the token is refused");
}

#[actix::test]
async fn a_yes_counts_as_enough_and_a_no_as_none() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.state().room = Ok(Free::Room(false));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(60.0).await;
    assert!(world.attempts("a").is_empty());
    world.state().room = Ok(Free::Room(true));
    seconds(6.0).await;
    assert_eq!(world.told("a")[0].1.envelope.availability.available, Some(2));
}

#[actix::test]
async fn a_failing_receiver_is_served_alone_and_gets_the_then_current_change_once() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("bad", vec![Delivery::Fail(RETRY, Reached::No); 7]);
    let _handle = world.start(world.setup(&["tasks"], &["bad", "good"]), MemoryStore::default());
    seconds(10.0).await;
    for value in 2..30 {
        world.set("tasks", json!(value));
        seconds(5.0).await;
    }
    seconds(200.0).await;
    let good: Vec<f64> = world.told("good").iter().map(|(at, _)| at.round()).collect();
    assert_eq!(good, [30.0, 90.0, 150.0], "the good one is told as if it were alone");
    let bad = world.told("bad");
    assert_eq!(bad[0].1.changes[0].old.to_string(), "1", "the bad one learns what it missed");
    assert!(bad[0].1.changes[0].merged > 3);
    let last = bad.last().expect("it recovered").1.changes[0].new.to_string();
    assert_eq!(last, "29");
}

#[actix::test]
async fn a_repeated_delivery_keeps_its_batch_id_and_new_content_gets_another() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("a", vec![Delivery::Fail(RETRY, Reached::Maybe); 2]);
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(60.0).await;
    let attempts = world.attempts("a");
    assert_eq!(attempts.len(), 3);
    assert_eq!(attempts[0].document, attempts[1].document);
    assert_eq!(attempts[0].document, attempts[2].document);
    world.set("tasks", json!(3));
    seconds(120.0).await;
    let attempts = world.attempts("a");
    assert_eq!(attempts.len(), 4);
    assert_ne!(attempts[3].document.envelope.batch_id, attempts[0].document.envelope.batch_id);
}

#[actix::test]
async fn a_change_that_is_undone_after_a_delivery_in_doubt_is_told_all_the_same() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!("A"));
    let retry = DeliveryErrorKind::Retry { after: Some(Duration::from_secs(100)) };
    world.will("a", [Delivery::Fail(retry, Reached::Maybe)]);
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!("B"));
    seconds(21.0).await;
    world.set("tasks", json!("A"));
    seconds(200.0).await;
    let attempts = world.attempts("a");
    assert_eq!(attempts.len(), 2);
    let change = &attempts[1].document.changes[0];
    assert_eq!((change.old.to_string(), change.new.to_string()), ("\"B\"".to_owned(), "\"A\"".to_owned()));
}

#[actix::test]
async fn retry_after_is_honoured() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let retry = DeliveryErrorKind::Retry { after: Some(Duration::from_secs(77)) };
    world.will("a", [Delivery::Fail(retry, Reached::No)]);
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(200.0).await;
    let attempts: Vec<f64> = world.attempts("a").iter().map(|attempt| attempt.at.round()).collect();
    assert_eq!(attempts, [30.0, 107.0]);
}

#[actix::test]
async fn a_refused_batch_is_not_repeated_until_its_content_changes() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("a", [Delivery::Fail(DeliveryErrorKind::Permanent, Reached::No)]);
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(3600.0).await;
    assert_eq!(world.attempts("a").len(), 1);
    let last = handle.status().receivers[0].last_delivery.clone().expect("a delivery");
    assert_eq!(last.outcome, Outcome::Refused);
    world.set("tasks", json!(3));
    seconds(60.0).await;
    let told = world.told("a");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.changes[0].merged, 2);
}

#[actix::test]
async fn best_effort_is_one_attempt_a_batch() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("best-effort", [Delivery::Fail(RETRY, Reached::Maybe)]);
    let handle = world.start(world.setup(&["tasks"], &["best-effort"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(600.0).await;
    assert_eq!(world.attempts("best-effort").len(), 1);
    assert_eq!(handle.status().receivers[0].pending, 0);
    assert_eq!(handle.deliveries(9).expect("deliveries")[0].outcome, Outcome::Failed);
}

#[actix::test]
async fn a_slow_receiver_holds_nobody_back_and_is_never_served_twice_at_once() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("slow", [Delivery::Slow(Duration::from_secs(200))]);
    let _handle = world.start(world.setup(&["tasks"], &["slow", "quick"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(30.0).await;
    world.set("tasks", json!(3));
    seconds(100.0).await;
    assert_eq!(world.told("quick").len(), 2);
    assert_eq!(world.told("slow").len(), 1);
    seconds(300.0).await;
    let slow = world.told("slow");
    assert_eq!(slow.len(), 2);
    assert_eq!(slow[1].1.changes[0].old.to_string(), "2");
    assert_eq!(slow[1].0.round(), 230.0, "as soon as it has taken the first batch");
}

#[actix::test]
async fn a_cooldown_holds_over_a_restart() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(25.0).await;
    handle.shutdown(Duration::from_secs(1)).await;
    world.set("tasks", json!(3));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(100.0).await;
    let times: Vec<f64> = world.told("a").iter().map(|(at, _)| at.round()).collect();
    assert_eq!(times, [30.0, 90.0]);
}

#[actix::test]
async fn a_change_made_while_the_dispatcher_was_down_is_found() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    handle.shutdown(Duration::from_secs(1)).await;
    world.set("tasks", json!(2));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(1.0).await;
    assert_eq!(world.told("a")[0].1.changes[0].old.to_string(), "1");
}

#[actix::test]
async fn a_projection_that_stays_away_is_removed_and_one_that_blinks_is_not() {
    tokio::time::pause();
    let world = World::new();
    world.set("blinks", json!(1));
    world.set("goes", json!(1));
    world.set("stays", json!(1));
    let _handle = world.start(world.setup(&["blinks", "goes", "stays"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.answer("blinks", Answer::Absent);
    world.answer("goes", Answer::Absent);
    seconds(60.0).await;
    assert!(world.attempts("a").is_empty(), "two polls are not enough");
    world.set("blinks", json!(1));
    seconds(60.0).await;
    let told = world.told("a");
    assert_eq!(told.len(), 1);
    let changes = &told[0].1.changes;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].projection.as_str(), changes[0].kind), ("goes", ChangeKind::Removed));
    world.set("goes", json!(1));
    seconds(120.0).await;
    assert_eq!(world.told("a")[1].1.changes[0].kind, ChangeKind::Appeared);
}

#[actix::test]
async fn an_outage_is_never_a_mass_removal() {
    tokio::time::pause();
    let world = World::new();
    let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        world.set(name, json!(1));
    }
    let _handle = world.start(world.setup(&names, &["a"]), MemoryStore::default());
    seconds(10.0).await;
    for name in &names {
        world.answer(name, Answer::Absent);
    }
    seconds(3600.0).await;
    assert!(world.attempts("a").is_empty());
    for name in &names {
        world.set(name, json!(1));
    }
    seconds(600.0).await;
    assert!(world.attempts("a").is_empty(), "nothing has changed after all");
}

#[actix::test]
async fn one_hanging_projection_of_200_delays_nobody() {
    tokio::time::pause();
    let world = World::new();
    let names: Vec<String> = (0..200).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        world.set(name, json!(1));
    }
    let timeout = SourceError::new(SourceErrorKind::Timeout, "no answer within 10 s");
    world.answer("p0", Answer::SlowError(Duration::from_secs(10), timeout));
    let _handle = world.start(world.setup(&names, &["a"]), MemoryStore::default());
    seconds(5.0).await;
    world.set("p199", json!(2));
    seconds(26.0).await;
    let told = world.told("a");
    assert_eq!(told.len(), 1, "told while p0 still hangs");
    seconds(600.0).await;
    for name in &names[1..] {
        let polls = world.polls_of(name);
        let slowest = polls.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(slowest <= 30.5, "{name} waited {slowest} s");
    }
}

#[actix::test]
async fn many_hanging_projections_leave_room_for_the_healthy_ones() {
    tokio::time::pause();
    let world = World::new();
    let names: Vec<String> = (0..60).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let timeout = SourceError::new(SourceErrorKind::Timeout, "no answer within 10 s");
    for (number, name) in names.iter().enumerate() {
        if number < 40 {
            world.answer(name, Answer::SlowError(Duration::from_secs(10), timeout.clone()));
        } else {
            world.set(name, json!(1));
        }
    }
    let _handle = world.start(world.setup(&names, &["a"]), MemoryStore::default());
    // The first sweep cannot know who hangs.
    seconds(100.0).await;
    for name in &names[40..] {
        let late = world.polls_of(name).windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(late <= 31.0, "{name} waited {late} s");
    }
}

#[actix::test]
async fn a_panicking_source_or_receiver_is_a_failure_and_not_the_end() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.set("good", json!(1));
    world.will("a", [Delivery::Panic]);
    let handle = world.start(world.setup(&["tasks", "good"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.answer("tasks", Answer::Panic);
    world.set("good", json!(2));
    seconds(60.0).await;
    assert_eq!(world.attempts("a").len(), 2, "repeated after the panic");
    let status = handle.status();
    assert!(status.actors.values().all(|actor| actor.restarts == 0), "no actor was harmed");
    let trouble = &status.watcher.failing["tasks"];
    assert_eq!(trouble.error, "internal");
    assert!(trouble.message.contains("the source of a test"), "{}", trouble.message);
}

#[actix::test]
async fn what_cannot_be_stored_is_neither_believed_nor_pushed_until_it_can() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    disk.0.fail_commits(true);
    world.set("tasks", json!(2));
    seconds(600.0).await;
    assert!(world.attempts("a").is_empty());
    assert!(handle.status().store_error.is_some());
    disk.0.fail_commits(false);
    seconds(300.0).await;
    assert_eq!(world.told("a").len(), 1);
    assert_eq!(handle.status().store_error, None);
}
