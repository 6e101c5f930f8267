//! The default intervals: 30/5 s for the watcher, 60/5 s for the scheduler, 60 s of cooldown.

use ograph_dispatcher_actors::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    settings::ActiveScope,
    source::{SourceError, SourceErrorKind},
    store::MemoryStore,
};
use serde_json::json;

use crate::support::{Answer, World, seconds, tenths};

#[actix::test]
async fn an_idle_watcher_polls_every_30_seconds() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(125.0).await;
    assert_eq!(tenths(&world.polls_of("tasks")), [0.0, 30.0, 60.0, 90.0, 120.0]);
}

#[actix::test]
async fn a_change_makes_every_projection_poll_after_5_seconds_until_nothing_is_new() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.set("notes", json!(1));
    let _handle = world.start(world.setup(&["tasks", "notes"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(22.0).await;
    world.set("tasks", json!(3));
    seconds(40.0).await;
    // Found at 30, found again at 35, nothing new at 40, idle from then on.
    for projection in ["tasks", "notes"] {
        assert_eq!(tenths(&world.polls_of(projection)), [0.0, 30.0, 35.0, 40.0, 70.0], "{projection}");
    }
}

#[actix::test]
async fn with_the_scope_projection_only_the_changed_one_polls_faster() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.set("notes", json!(1));
    let mut setup = world.setup(&["tasks", "notes"], &["a"]);
    setup.settings.watch.active_scope = ActiveScope::Projection;
    let _handle = world.start(setup, MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(60.0).await;
    assert_eq!(tenths(&world.polls_of("tasks")), [0.0, 30.0, 35.0, 65.0]);
    assert_eq!(tenths(&world.polls_of("notes")), [0.0, 30.0, 60.0]);
}

#[actix::test]
async fn an_idle_scheduler_asks_every_60_seconds() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(185.0).await;
    assert_eq!(tenths(&world.state().room_polls), [0.0, 60.0, 120.0, 180.0]);
}

#[actix::test]
async fn a_scheduler_that_waits_for_room_asks_at_once_and_then_every_5_seconds() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.slots(1);
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(37.0).await;
    assert_eq!(tenths(&world.state().room_polls), [0.0, 30.0, 35.0, 40.0, 45.0]);
    assert!(world.told("a").is_empty(), "one slot is not enough");
    world.slots(2);
    seconds(5.0).await;
    let told = world.told("a");
    assert_eq!(tenths(&told.iter().map(|(at, _)| *at).collect::<Vec<_>>()), [50.0]);
}

#[actix::test]
async fn after_a_push_a_receiver_is_left_alone_for_60_seconds_and_then_told_at_once() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    for value in 2..40 {
        world.set("tasks", json!(value));
        seconds(5.0).await;
    }
    let told = world.told("a");
    let times: Vec<f64> = told.iter().map(|(at, _)| *at).collect();
    assert_eq!(tenths(&times), [30.0, 90.0, 150.0]);
    assert!(told[1].1.changes[0].merged > 5, "what changed meanwhile is merged: {}", told[1].1.changes[0].merged);
    assert_eq!(told[1].1.changes[0].old, told[0].1.changes[0].new);
}

#[actix::test]
async fn one_failing_projection_backs_off_alone() {
    tokio::time::pause();
    let world = World::new();
    world.set("good", json!(1));
    world.answer("bad", Answer::Error(SourceError::new(SourceErrorKind::Server, "500")));
    let _handle = world.start(world.setup(&["good", "bad"], &["a"]), MemoryStore::default());
    seconds(20.0 * 60.0 + 5.0).await;
    assert_eq!(world.polls_of("good").len(), 41);
    let bad = world.polls_of("bad");
    let gaps: Vec<f64> = bad.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((4.0..=5.0).contains(&gaps[0]), "the first retry comes soon: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= 300.0), "{gaps:?}");
    assert!(*gaps.last().expect("gaps") >= 240.0, "the last ones are minutes apart: {gaps:?}");
}

#[actix::test]
async fn a_refused_token_ends_the_hammering_and_a_mended_one_is_noticed() {
    tokio::time::pause();
    let world = World::new();
    let names: Vec<String> = (0..50).map(|number| format!("p{number}")).collect();
    let refused = Answer::Error(SourceError::new(SourceErrorKind::Unauthorized, "401"));
    for name in &names {
        world.answer(name, refused.clone());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let _handle = world.start(world.setup(&names, &["a"]), MemoryStore::default());
    seconds(3600.0).await;
    let polls = world.state().polls.len();
    assert!((50..=70).contains(&polls), "50 at the start, then one probe now and then: {polls}");
    for name in &names {
        world.set(name, json!(1));
    }
    seconds(300.0).await;
    for name in &names {
        assert!(world.polls_of(name).last().is_some_and(|at| *at >= 3600.0), "{name} is polled again");
    }
}

#[actix::test]
async fn a_gateway_that_is_down_is_asked_ever_more_rarely_but_at_least_every_60_seconds() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    let _handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(10.0).await;
    world.state().room = Err(AvailabilityError::new(AvailabilityErrorKind::Transport, "connection refused"));
    world.set("tasks", json!(2));
    seconds(270.0).await;
    assert_eq!(tenths(&world.state().room_polls), [0.0, 30.0, 35.0, 45.0, 65.0, 105.0, 165.0, 225.0]);
    assert!(world.told("a").is_empty(), "never a push while the availability is unknown");
}
