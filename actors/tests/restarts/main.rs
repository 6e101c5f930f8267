//! Panics in every actor: restarted in place, neighbours untouched, nothing lost, counted.
//!
//! Fail points are global to the process: a binary of its own, in which every test holds the scenario.

#[path = "../system/support.rs"]
#[expect(dead_code, reason = "shared with the tests without panics")]
mod support;

use std::time::Duration;

use fail::FailScenario;
use ograph_dispatcher_actors::{Ended, Handle, status::ActorState, store::MemoryStore, supervision::RestartPolicy};
use serde_json::json;

use crate::support::{Disk, World, WorldClock, seconds};

/// One panic at `point` must cost `actor` one restart, its neighbours nothing, and nobody a change.
async fn survives(point: &str, actor: &str) {
    let _serial = FailScenario::setup();
    let world = World::new();
    world.set("tasks", json!(1));
    world.set("notes", json!(1));
    let at_start = point.ends_with("started") || point == "pending.future";
    if at_start {
        fail::cfg(point, "1*panic(torn)").expect("a fail point");
    }
    let handle = world.start(world.setup(&["tasks", "notes"], &["a", "b"]), MemoryStore::default());
    seconds(10.0).await;
    if !at_start {
        fail::cfg(point, "1*panic(torn)").expect("a fail point");
    }
    world.set("tasks", json!(2));
    let (poll, flush) = futures_util::join!(handle.poll(), async {
        seconds(1.0).await;
        world.set("notes", json!(2));
        handle.flush().await
    });
    // A question that the actor was answering when it panicked may fail; it must not hang, and nothing may be lost.
    drop((poll, flush));
    seconds(300.0).await;
    world.set("tasks", json!(3));
    seconds(300.0).await;

    for receiver in ["a", "b"] {
        let told = world.told(receiver);
        let values = |projection: &str| -> Vec<(String, String)> {
            let changes = told.iter().flat_map(|(_, document)| &document.changes);
            let mine = changes.filter(|change| change.projection.as_str() == projection);
            mine.map(|change| (change.old.to_string(), change.new.to_string())).collect()
        };
        assert_eq!(values("notes").last().expect("told").1, "2", "{point}: {receiver} knows of the notes");
        assert_eq!(values("tasks").last().expect("told").1, "3", "{point}: {receiver} knows of the tasks");
    }
    let status = handle.status();
    for (name, status) in &status.actors {
        let restarts = u64::from(*name == actor);
        assert_eq!(status.restarts, restarts, "{point}: restarts of the {name}");
    }
    let panic = status.actors[actor].last_panic.as_ref().expect("shown");
    assert!(panic.message.contains("torn"), "{}", panic.message);
    assert!(panic.location.is_some());
    assert_eq!(handle.ping().await, Ok(()), "{point}: every actor answers");
}

macro_rules! survives {
    ($($name:ident: $point:literal, $actor:literal;)*) => {$(
        #[actix::test]
        async fn $name() {
            tokio::time::pause();
            survives($point, $actor).await;
        }
    )*};
}

survives! {
    the_watcher_survives_a_panic_in_started: "watcher.started", "watcher";
    the_watcher_survives_a_panic_in_a_handler: "watcher.handler", "watcher";
    the_watcher_survives_a_panic_in_a_timer: "watcher.timer", "watcher";
    the_watcher_survives_a_panic_in_a_future: "watcher.future", "watcher";
    the_scheduler_survives_a_panic_in_started: "scheduler.started", "scheduler";
    the_scheduler_survives_a_panic_in_a_handler: "scheduler.handler", "scheduler";
    the_scheduler_survives_a_panic_in_a_timer: "scheduler.timer", "scheduler";
    the_scheduler_survives_a_panic_in_a_future: "scheduler.future", "scheduler";
    the_pending_actor_survives_a_panic_in_started: "pending.started", "pending";
    the_pending_actor_survives_a_panic_in_a_handler: "pending.handler", "pending";
    the_pending_actor_survives_a_panic_in_a_future: "pending.future", "pending";
    the_pending_actor_survives_a_panic_between_commit_and_answer: "pending.committed", "pending";
    the_supervisor_survives_a_panic_in_started: "supervisor.started", "supervisor";
    the_supervisor_survives_a_panic_in_a_handler: "supervisor.handler", "supervisor";
}

#[actix::test]
async fn an_actor_that_panics_over_and_over_ends_the_dispatcher_and_its_host_is_told() {
    tokio::time::pause();
    let _serial = FailScenario::setup();
    let world = World::new();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    fail::cfg("watcher.started", "panic(again)").expect("a fail point");
    fail::cfg("watcher.timer", "1*panic(first)").expect("a fail point");
    let ended = handle.ended().await;
    let Ended::Escalated { actor: "watcher", panic } = ended else { panic!("{ended:?}") };
    assert!(panic.message.contains("again"));
    let watcher = handle.status().actors["watcher"].clone();
    assert_eq!((watcher.state, watcher.restarts), (ActorState::GivenUp, 5));
    handle.shutdown(Duration::from_secs(1)).await;
}

#[actix::test]
async fn the_intensity_is_the_hosts_to_choose() {
    tokio::time::pause();
    let _serial = FailScenario::setup();
    let world = World::new();
    world.set("tasks", json!(1));
    let policy = RestartPolicy { max_restarts: 100, ..RestartPolicy::default() };
    let handle: Handle =
        ograph_dispatcher_actors::Dispatcher::new(world.setup(&["tasks"], &["a"]), MemoryStore::default())
            .clock(WorldClock(world.clone()))
            .restart_policy(policy)
            .start()
            .expect("started");
    fail::cfg("scheduler.started", "50*panic(again)").expect("a fail point");
    seconds(120.0).await;
    assert_eq!(handle.status().actors["scheduler"].restarts, 50);
    world.set("tasks", json!(2));
    seconds(60.0).await;
    assert_eq!(world.told("a").len(), 1);
}

#[actix::test]
async fn a_panic_between_a_push_and_its_acknowledgement_repeats_the_same_batch() {
    tokio::time::pause();
    let _serial = FailScenario::setup();
    let world = World::new();
    let disk = Disk::default();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(10.0).await;
    world.set("tasks", json!(2));
    fail::cfg("scheduler.settle", "1*panic(before it is settled)").expect("a fail point");
    seconds(200.0).await;
    let told = world.told("a");
    assert_eq!(told.len(), 2, "once before the panic, once after");
    assert_eq!(told[0].1, told[1].1);
    assert_eq!(handle.status().receivers[0].pending, 0);
}

#[actix::test]
async fn a_supervisor_that_panics_over_and_over_leaves_nothing_behind_after_the_shutdown() {
    tokio::time::pause();
    let _serial = FailScenario::setup();
    let world = World::new();
    world.set("tasks", json!(1));
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    fail::cfg("supervisor.handler", "panic(again)").expect("a fail point");
    for _ in 0..6 {
        handle.ping().await.expect_err("it panics");
    }
    let ended = handle.ended().await;
    assert!(matches!(ended, Ended::Escalated { actor: "supervisor", .. }), "{ended:?}");
    handle.shutdown(Duration::from_secs(1)).await;
    let polls = world.polls_of("tasks").len();
    seconds(600.0).await;
    assert_eq!(world.polls_of("tasks").len(), polls);
}
