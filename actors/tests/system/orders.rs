//! What is ordered by hand: flush, pause, reload, shutdown.

use std::time::Duration;

use ograph_dispatcher_actors::{
    messages::ControlError,
    model::document::Reason,
    receivers::{DeliveryErrorKind, Reached},
    status::Phase,
    store::{MemoryStore, Outcome, Store as _},
};
use serde_json::json;

use crate::support::{Delivery, Disk, World, seconds};

const RETRY: DeliveryErrorKind = DeliveryErrorKind::Retry { after: None };

#[actix::test]
async fn a_flush_polls_first_and_pushes_whatever_availability_and_cooldown_say() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.slots(0);
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    let report = handle.flush().await.expect("a report");
    assert_eq!(report.delivered, 1);
    assert_eq!(report.batches[0].changes, 1);
    world.set("tasks", json!(3));
    let report = handle.flush().await.expect("a report");
    assert_eq!(report.delivered, 1, "the cooldown does not matter");
    let told = world.told("a");
    assert_eq!(told[1].1.envelope.reason, Reason::Flush);
    assert_eq!(told[1].1.envelope.availability.available, Some(0));
    assert_eq!(handle.flush().await.expect("a report").batches, [], "there is nothing left");
}

#[actix::test]
async fn a_flush_reports_what_its_own_sweep_made_the_scheduler_push() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a", "b"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    let report = handle.flush().await.expect("a report");
    assert_eq!(report.delivered, 2, "there was room, so it was pushed before the flush could: {report:?}");
    assert_eq!(world.told("a").len(), 1);
    assert_eq!(handle.flush().await.expect("a report").batches, []);
}

#[actix::test]
async fn a_flush_that_wants_room_is_refused_with_the_reason() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.slots(1);
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    let refused = handle.flush_when_available().await.expect_err("no room");
    assert_eq!(refused, ControlError::Busy("1 of 2 needed slots free".to_owned()));
    world.slots(2);
    assert_eq!(handle.flush_when_available().await.expect("a report").delivered, 1);
}

#[actix::test]
async fn a_flush_reports_every_receiver_and_waits_for_the_slow_one() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.will("slow", [Delivery::Slow(Duration::from_secs(20))]);
    world.will("bad", [Delivery::Fail(RETRY, Reached::No)]);
    let handle = world.start(world.setup(&["tasks"], &["bad", "good", "slow"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    let report = handle.flush().await.expect("a report");
    let mut outcomes: Vec<_> = report.batches.iter().map(|b| (b.receiver.to_string(), b.outcome)).collect();
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        outcomes,
        [
            ("bad".to_owned(), Outcome::Failed),
            ("good".to_owned(), Outcome::Delivered),
            ("slow".to_owned(), Outcome::Delivered)
        ]
    );
    assert_eq!(report.delivered, 2);
}

#[actix::test]
async fn pause_holds_everything_back_over_a_restart_until_resume() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    handle.pause().await.expect("paused");
    world.set("tasks", json!(2));
    seconds(100.0).await;
    handle.shutdown(Duration::from_secs(1)).await;
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(100.0).await;
    assert!(world.attempts("a").is_empty());
    assert_eq!(handle.status().scheduler.state, Some(Phase::Paused));
    handle.resume().await.expect("resumed");
    seconds(1.0).await;
    assert_eq!(world.told("a").len(), 1);
}

#[actix::test]
async fn a_new_receiver_starts_from_what_is_known_and_is_told_of_later_changes() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    handle.reload(world.setup(&["tasks"], &["a", "b"])).await.expect("reloaded");
    seconds(10.0).await;
    assert!(world.attempts("b").is_empty());
    world.set("tasks", json!(2));
    seconds(30.0).await;
    assert_eq!(world.told("a").len(), 1);
    assert_eq!(world.told("b").len(), 1);
}

#[actix::test]
async fn a_reload_adds_and_drops_projections_and_leaves_the_others_their_rhythm() {
    tokio::time::pause();
    let world = World::new();
    for name in ["stays", "goes", "comes"] {
        world.set(name, json!(1));
    }
    let handle = world.start(world.setup(&["stays", "goes"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    handle.reload(world.setup(&["stays", "comes"], &["a"])).await.expect("reloaded");
    seconds(55.0).await;
    assert_eq!(world.polls_of("stays").iter().map(|at| at.round()).collect::<Vec<_>>(), [0.0, 30.0, 60.0]);
    assert_eq!(world.polls_of("comes").iter().map(|at| at.round()).collect::<Vec<_>>(), [10.0, 40.0]);
    assert_eq!(world.polls_of("goes").len(), 1);
}

#[actix::test]
async fn a_shutdown_lets_the_delivery_under_way_finish() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    world.will("a", [Delivery::Slow(Duration::from_secs(5))]);
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(21.0).await;
    assert_eq!(world.attempts("a").len(), 1);
    handle.shutdown(Duration::from_secs(10)).await;
    assert_eq!(disk.deliveries(1).expect("deliveries")[0].outcome, Outcome::Delivered);
    assert_eq!(handle.flush().await, Err(ControlError::Ended));
}

#[actix::test]
async fn a_shutdown_does_not_wait_for_ever_and_the_batch_is_repeated_later() {
    tokio::time::pause();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    world.will("a", [Delivery::Slow(Duration::from_secs(500))]);
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(21.0).await;
    handle.shutdown(Duration::from_secs(10)).await;
    assert!(world.state().seconds() < 45.0);
    let _handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(5.0).await;
    let attempts = world.attempts("a");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].document, attempts[1].document);
}
