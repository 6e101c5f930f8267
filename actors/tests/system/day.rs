//! Whole days with faults of every kind, on paused time; and a wall clock that jumps.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ograph_dispatcher_actors::{
    Dispatcher, Handle,
    availability::{AvailabilityError, AvailabilityErrorKind},
    clock::{Clock, Now},
    model::{availability::Free, document::Reason},
    receivers::{DeliveryErrorKind, Reached},
    source::{SourceError, SourceErrorKind},
    store::MemoryStore,
};
use serde_json::{Value, json};

use crate::support::{Answer, Attempt, Delivery, Disk, World, WorldClock, seconds};

const HOURS: u32 = 24;
const PROJECTIONS: [&str; 5] = ["a", "b", "c?id=1", "c?id=2", "d"];
const RECEIVERS: [&str; 3] = ["first", "second", "third"];

#[actix::test]
async fn a_day_of_faults_and_restarts_loses_nothing_and_keeps_every_promise() {
    tokio::time::pause();
    let seed = std::env::var("DAY_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    println!("to draw this day again: DAY_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (world, disk) = (World::new(), Disk::default());
    for projection in PROJECTIONS {
        world.set(projection, json!(0));
    }
    let start = || world.start(world.setup(&PROJECTIONS, &RECEIVERS), disk.clone());
    let mut handle = start();
    seconds(60.0).await;
    let mut truth: BTreeMap<&str, Value> = PROJECTIONS.map(|projection| (projection, json!(0))).into();
    // Since when there has been room, or none.
    let mut rooms = vec![(0.0, true)];
    let mut value = 0;
    let mut restarts = 0;
    while world.state().seconds() < f64::from(HOURS) * 3_600.0 {
        let projection = *dice.choice(&PROJECTIONS).expect("there are some");
        match dice.u8(..12) {
            0..5 => {
                value += 1;
                let new = json!(if dice.u8(..3) > 0 { value } else { dice.u32(..value) });
                truth.insert(projection, new.clone());
                world.set(projection, new);
            }
            5 => world.answer(projection, any_fault(&mut dice)),
            6 => world.set(projection, truth[projection].clone()),
            7 | 8 => {
                let room = any_room(&mut dice);
                rooms.push((world.state().seconds(), matches!(room, Ok(Free::Slots(2..) | Free::Room(true)))));
                world.state().room = room;
            }
            9 => world.will(dice.choice(&RECEIVERS).expect("there are some"), [any_outcome(&mut dice)]),
            10 => disk.0.fail_commits(dice.u8(..4) == 0),
            _ if dice.u8(..4) == 0 => {
                restarts += 1;
                disk.0.fail_commits(false);
                handle.shutdown(Duration::from_secs(dice.u64(..3))).await;
                seconds(dice.f64() * 100.0).await;
                handle = start();
            }
            _ => {}
        }
        seconds(dice.f64() * 60.0).await;
    }

    disk.0.fail_commits(false);
    world.state().outcomes.clear();
    // Something new for everybody: what was refused for good is not tried again as it is.
    for (projection, value) in &mut truth {
        *value = json!("the end");
        world.set(projection, value.clone());
    }
    world.slots(9);
    rooms.push((world.state().seconds(), true));
    // Longer than any backoff.
    seconds(1_200.0).await;
    let attempts = std::mem::take(&mut world.state().attempts);
    assert!(handle.status().receivers.iter().all(|receiver| receiver.pending == 0), "{:?}", handle.status().receivers);
    for receiver in RECEIVERS {
        let mine: Vec<_> = attempts.iter().filter(|attempt| attempt.receiver == receiver).collect();
        let mut knows: HashMap<&str, Value> = PROJECTIONS.map(|projection| (projection, json!(0))).into();
        for change in mine.iter().filter(|attempt| attempt.ok).flat_map(|attempt| &attempt.document.changes) {
            let projection = PROJECTIONS.iter().find(|known| **known == change.projection.as_str()).expect("known");
            knows.insert(projection, serde_json::to_value(&change.new).expect("JSON"));
        }
        for (projection, value) in &truth {
            assert_eq!(knows[projection], *value, "what {receiver} was last told of {projection}");
        }
        for pair in mine.windows(2) {
            let repeats = pair[0].document.envelope.batch_id == pair[1].document.envelope.batch_id;
            let apart = pair[1].at - pair[0].at;
            // After what certainly failed nobody needs to cool down.
            assert!(repeats || !pair[0].ok || apart >= 59.9, "{receiver} was pushed to after {apart} s");
        }
    }
    for Attempt { at, receiver, document, .. } in &attempts {
        assert_eq!(document.envelope.reason, Reason::Available);
        let now = rooms.partition_point(|(since, _)| since <= at);
        // A moment, in which the answer is on its way.
        let enough = rooms[now - 1].1 || (now > 1 && rooms[now - 2].1 && at - rooms[now - 1].0 < 0.1);
        assert!(enough, "{receiver} was pushed to without room at {at} s");
    }
    println!("{HOURS} hours, {restarts} restarts, {value} changes, {} attempts", attempts.len());
    assert!(restarts > 10 && attempts.len() > 300, "{restarts} restarts, {} attempts", attempts.len());
    handle.shutdown(Duration::from_secs(1)).await;
}

fn any_fault(dice: &mut fastrand::Rng) -> Answer {
    let kinds = [
        SourceErrorKind::Unauthorized,
        SourceErrorKind::RateLimited,
        SourceErrorKind::Server,
        SourceErrorKind::Timeout,
        SourceErrorKind::Transport,
        SourceErrorKind::NotJson,
        SourceErrorKind::TooLarge,
    ];
    let error = SourceError::new(*dice.choice(&kinds).expect("there are some"), "a fault of the day".to_owned());
    match dice.u8(..4) {
        0 => Answer::SlowError(Duration::from_secs(dice.u64(..60)), error),
        1 => Answer::Panic,
        _ => Answer::Error(error),
    }
}

fn any_room(dice: &mut fastrand::Rng) -> Result<Free, AvailabilityError> {
    match dice.u8(..6) {
        0 => Err(AvailabilityError::new(AvailabilityErrorKind::Timeout, "no answer".to_owned())),
        1 => Ok(Free::Slots(dice.u64(..2))),
        2 => Ok(Free::Room(false)),
        3 => Ok(Free::Room(true)),
        _ => Ok(Free::Slots(9)),
    }
}

fn any_outcome(dice: &mut fastrand::Rng) -> Delivery {
    match dice.u8(..8) {
        0 => Delivery::Fail(DeliveryErrorKind::Retry { after: None }, Reached::No),
        1 => Delivery::Fail(DeliveryErrorKind::Retry { after: Some(Duration::from_secs(90)) }, Reached::No),
        2 | 3 => Delivery::Fail(DeliveryErrorKind::Retry { after: None }, Reached::Maybe),
        4 => Delivery::Fail(DeliveryErrorKind::Permanent, Reached::No),
        5 => Delivery::Panic,
        _ => Delivery::Slow(Duration::from_secs(dice.u64(..30))),
    }
}

/// A world's clock that somebody sets, to and fro.
struct SetClock {
    clock: WorldClock,
    offset: Arc<AtomicU64>,
}

impl Clock for SetClock {
    fn now(&self) -> Now {
        let now = self.clock.now();
        Now { wall: now.wall + Duration::from_secs(self.offset.load(Ordering::Relaxed)), ..now }
    }
}

#[actix::test]
async fn a_wall_clock_that_jumps_moves_no_poll_and_no_push() {
    tokio::time::pause();
    let mut dice = fastrand::Rng::with_seed(1);
    let world = World::new();
    world.set("a", json!(0));
    let offset = Arc::new(AtomicU64::new(1_000_000));
    let clock = SetClock { clock: WorldClock(world.clone()), offset: Arc::clone(&offset) };
    let handle: Handle = Dispatcher::new(world.setup(&["a"], &["first"]), MemoryStore::default())
        .clock(clock)
        .start()
        .expect("a running system");
    seconds(1.0).await;
    for value in 1..=200 {
        world.set("a", json!(value));
        // Up to eleven days to and fro.
        offset.store(dice.u64(..2_000_000), Ordering::Relaxed);
        seconds(10.0).await;
    }
    seconds(100.0).await;
    let polls = world.polls_of("a");
    let longest = polls.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(longest < 30.1, "not polled for {longest} s");
    let told = world.told("first");
    let pauses: Vec<f64> = told.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(pauses.iter().all(|pause| (60.0..66.0).contains(pause)), "{pauses:?}");
    assert_eq!(told.last().expect("told").1.changes[0].new.to_string(), "200");
    for (_, document) in &told {
        let change = &document.changes[0];
        assert!(change.first_changed_at <= change.last_changed_at, "{change:?}");
    }
    handle.shutdown(Duration::from_secs(1)).await;
}
