//! A storm of panics: every actor, at random messages, under load. Nothing is lost, and nothing is left behind.

use std::{fs, time::Duration};

use fail::FailScenario;
use ograph_dispatcher_actors::{
    Dispatcher, Handle,
    receivers::{DeliveryErrorKind, Reached},
    status::ActorState,
    store::MemoryStore,
    supervision::RestartPolicy,
};
use serde_json::{Value, json};

use crate::support::{Delivery, World, WorldClock, seconds};

/// So many restarts the storm lasts.
const RESTARTS: u64 = 1_000;

const PROJECTIONS: [&str; 5] = ["a", "b", "c?id=1", "c?id=2", "d"];

const RECEIVERS: [&str; 3] = ["first", "second", "third"];

/// Where it may strike, and how often, in per cent.
const POINTS: [(&str, u8); 22] = [
    ("supervisor.handler", 2),
    ("supervisor.started", 10),
    ("watcher.handler", 5),
    ("watcher.started", 10),
    ("watcher.timer", 2),
    ("watcher.future", 2),
    ("scheduler.handler", 5),
    ("scheduler.started", 10),
    ("scheduler.timer", 3),
    ("scheduler.future", 3),
    ("scheduler.settle", 10),
    ("deliver.call", 5),
    ("deliver.answered", 5),
    ("pending.handler", 3),
    ("pending.started", 10),
    ("pending.future", 10),
    ("pending.committed", 5),
    ("record.commit", 3),
    ("record.committed", 3),
    ("lease.committed", 3),
    ("settle.committed", 3),
    ("reopen.committed", 3),
];

#[actix::test]
async fn a_thousand_restarts_lose_nothing_and_leak_nothing() {
    tokio::time::pause();
    let seed = std::env::var("STORM_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("to draw this storm again: STORM_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let scenario = FailScenario::setup();
    let world = World::new();
    for projection in PROJECTIONS {
        world.set(projection, json!(0));
    }
    let policy = RestartPolicy { max_restarts: usize::MAX, ..RestartPolicy::default() };
    let handle = Dispatcher::new(world.setup(&PROJECTIONS, &RECEIVERS), MemoryStore::default())
        .clock(WorldClock(world.clone()))
        .restart_policy(policy)
        .start()
        .expect("a running system");
    seconds(10.0).await;
    let idle_tasks = tasks();

    let mut told: Vec<(String, String, Value)> = Vec::new();
    let mut before = None;
    let mut value = 0;
    for (point, percent) in POINTS {
        fail::cfg(point, &format!("{percent}%panic(struck by the storm)")).expect("a fail point");
    }
    while restarts(&handle) < RESTARTS {
        for _ in 0..20 {
            value += 1;
            let projection = dice.choice(PROJECTIONS).expect("there are some");
            // Some values come back.
            world.set(projection, json!(if dice.bool() { value } else { dice.u32(..value) }));
            world.slots(dice.u64(..5));
            let receiver = dice.choice(RECEIVERS).expect("there are some");
            world.will(receiver, [any_outcome(&mut dice)]);
            if dice.u8(..5) == 0 {
                // It may fail with the actor that was to answer, but it must end.
                drop(handle.flush().await);
            }
            seconds(dice.f64() * 40.0).await;
        }
        forget(&world, &mut told);
        // What the first round allocates is there to stay.
        if before.is_none() && restarts(&handle) > RESTARTS / 4 {
            before = Some((rss_kib(), open_files(), threads()));
        }
    }
    let struck: Vec<_> = handle.status().actors.iter().map(|(name, status)| (*name, status.restarts)).collect();
    assert!(struck.iter().all(|(_, restarts)| *restarts > 20), "every actor was struck: {struck:?}");
    scenario.teardown();

    world.state().outcomes.clear();
    world.slots(9);
    // Something new for everybody: what was refused for good is not tried again as it is.
    for projection in PROJECTIONS {
        world.set(projection, json!("the end"));
    }
    // Longer than any backoff.
    seconds(1_200.0).await;
    forget(&world, &mut told);
    let status = handle.status();
    assert!(status.actors.values().all(|actor| actor.state == ActorState::Running), "{:?}", status.actors);
    let panics: Vec<_> = status.actors.values().filter_map(|actor| actor.last_panic.as_ref()).collect();
    assert!(panics.iter().all(|panic| panic.location.is_some()), "also off the actors' thread: {panics:?}");
    assert_eq!(handle.ping().await, Ok(()));
    for projection in PROJECTIONS {
        let crate::support::Answer::Value(current) = world.state().projections[projection].clone() else {
            unreachable!("only values are set")
        };
        for receiver in RECEIVERS {
            let mine = told.iter().rev().find(|(who, what, _)| who == receiver && what == projection);
            let (_, _, last) = mine.unwrap_or_else(|| panic!("{receiver} was told nothing of {projection}"));
            assert_eq!(*last, current, "what {receiver} was last told of {projection}");
        }
    }
    assert!(status.receivers.iter().all(|receiver| receiver.pending == 0), "{:?}", status.receivers);

    let (rss, files, threads_before) = before.expect("taken on the way");
    // Other tests of this process may still be closing theirs; a leak would be one a restart.
    assert!(open_files() < files + 100, "open files: {files} before, {} after", open_files());
    assert!(threads() <= threads_before.max(8), "threads: {threads_before} before, {} after", threads());
    assert!(rss_kib() < rss + 8 * 1_024, "resident memory: {rss} KiB before, {} KiB after", rss_kib());
    assert_eq!(tasks(), idle_tasks, "tasks");
    println!("{struck:?} restarts; {rss} KiB before, {} KiB after", rss_kib());
    handle.shutdown(Duration::from_secs(1)).await;
}

fn any_outcome(dice: &mut fastrand::Rng) -> Delivery {
    match dice.u8(..10) {
        0 => Delivery::Fail(DeliveryErrorKind::Retry { after: None }, Reached::No),
        1 => Delivery::Fail(DeliveryErrorKind::Retry { after: None }, Reached::Maybe),
        2 => Delivery::Fail(DeliveryErrorKind::Permanent, Reached::No),
        3 => Delivery::Panic,
        4 => Delivery::Slow(Duration::from_secs(dice.u64(..90))),
        _ => Delivery::Ok,
    }
}

fn restarts(handle: &Handle) -> u64 {
    handle.status().actors.values().map(|actor| actor.restarts).sum()
}

/// Takes down what was told, and forgets the rest: the record of a test is no leak.
fn forget(world: &World, told: &mut Vec<(String, String, Value)>) {
    let mut state = world.state();
    for attempt in state.attempts.drain(..).filter(|attempt| attempt.ok) {
        for change in &attempt.document.changes {
            let new = serde_json::to_value(&change.new).expect("JSON");
            told.retain(|(who, what, _)| *who != attempt.receiver || what != change.projection.as_str());
            told.push((attempt.receiver.clone(), change.projection.to_string(), new));
        }
    }
    state.polls = Vec::new();
    state.room_polls = Vec::new();
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn rss_kib() -> u64 {
    proc_status("VmRSS:")
}

fn threads() -> u64 {
    proc_status("Threads:")
}

/// 0 where there is no `/proc`.
fn proc_status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
