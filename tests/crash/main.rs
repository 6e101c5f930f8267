//! The crash oracle: the real daemon is killed again and again at random moments, while everything around it changes,
//! fails and recovers; afterwards nothing may be lost, invented, or pushed when it must not be.
//!
//! A run is drawn from a seed, which is printed. `CRASH_SEED` draws the same run again (the same changes, faults and
//! times of death; what the machine makes of them still varies), `CRASH_KILLS` sets its length.

mod oracle;
mod panics;
mod points;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::time::Duration;

use serde_json::json;

use crate::{
    support::{Daemon, Setup, Signal, now, observe_for},
    world::{COOLDOWN, MIN_AVAILABLE, World},
};

/// How many kills fit into the plain test command.
const KILLS: u64 = 20;

/// How long the dust may take to settle.
const DUST: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_invented_or_pushed_out_of_turn_however_often_it_is_killed() {
    let seed = number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = number("CRASH_KILLS").unwrap_or(KILLS);
    let replay = format!("CRASH_SEED={seed} CRASH_KILLS={kills} cargo test --test crash");
    println!("to draw this run again: {replay}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let world = World::new(dice.fork());
    let setup = setup(&world);

    // What was true before anybody could be told is the baseline.
    world.calm(true);
    let daemon = begin_life(&setup, &world);
    world.wait_for_polls(3);
    daemon.kill();
    world.take_baseline();
    world.calm(false);
    for _ in 0..kills {
        live(&setup, &world, &mut dice);
    }

    world.calm(true);
    let daemon = begin_life(&setup, &world);
    let settled = || world.is_quiet(COOLDOWN * 3) && oracle::is_settled(&world);
    let start = now();
    while !settled() && start.elapsed() < DUST {
        observe_for(Duration::from_millis(50));
    }
    check_log(&daemon);
    let complaints = oracle::complaints(&world);
    assert!(complaints.is_empty(), "{}\nto draw this run again: {replay}", complaints.join("\n"));
    println!("{}", oracle::figures(&world, kills));
}

/// Starts the daemon. The command that it calls sees which of its lives this is.
fn begin_life(setup: &Setup, world: &World) -> Daemon {
    let life = world.begin_life();
    setup.start_with(&[("CRASH_LIFE", format!("{life:06}"))])
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// One life of the daemon, from its start to its violent end.
fn live(setup: &Setup, world: &World, dice: &mut fastrand::Rng) {
    let daemon = begin_life(setup, world);
    let span = Duration::from_millis(dice.u64(5..900));
    // Half of them die just when something is delivered.
    let deliveries = world.delivered();
    let at_delivery = dice.bool();
    let flush_after = (dice.u8(..5) == 0).then(|| Duration::from_millis(dice.u64(100..500)));
    let mut flushed = false;
    let start = now();
    while start.elapsed() < span && !(at_delivery && world.delivered() > deliveries + 1) {
        world.turn(dice);
        if !flushed && flush_after.is_some_and(|after| start.elapsed() > after && world.has_polled()) {
            flushed = true;
            world.allow_anything();
            daemon.signal(Signal::USR1);
        }
        observe_for(Duration::from_millis(dice.u64(1..30)));
    }
    observe_for(Duration::from_micros(dice.u64(..3_000)));
    if dice.u8(..10) == 0 {
        // Killed while it ends in good order.
        daemon.signal(Signal::TERM);
        observe_for(Duration::from_millis(dice.u64(..100)));
    }
    check_log(&daemon);
    daemon.kill();
    world.wait_until_idle();
    // What changes while nobody looks is found by the next one.
    for _ in 0..dice.u8(..3) {
        world.turn(dice);
    }
}

#[track_caller]
fn check_log(daemon: &Daemon) {
    for word in ["panicked", "damaged"] {
        assert_eq!(daemon.count_log(word), 0, "{word:?} in its log");
    }
}

fn setup(world: &World) -> Setup {
    let url = world.url();
    let mut setup = Setup::new(json!({
        "ograph": {"endpoint": url, "token": "token", "projections": world::PROJECTIONS, "timeout": 300},
        "oc": {
            "statusEndpoint": format!("{url}/status"),
            "statusToken": "token",
            "minAvailable": MIN_AVAILABLE,
            "timeout": 200,
        },
        "intervals": {
            "watcherIdle": 40,
            "watcherActive": 20,
            "schedulerIdle": 30,
            "schedulerActive": 15,
            "cooldownAfterPush": u64::try_from(COOLDOWN.as_millis()).expect("short"),
        },
        "push": {"openclaw": {"enabled": false}},
        "control": {"listen": null},
    }));
    setup.config["push"]["dispatchFile"] = json!(setup.path("dispatch.json"));
    let inbox = setup.path("inbox");
    std::fs::create_dir(&inbox).expect("an inbox");
    world.watch(&setup.path("dispatch.json"), &inbox);
    // Named by the daemon's start and its own, so that one that outlives its daemon does not overtake the next one's.
    let take = r#"name=$CRASH_LIFE.$(date +%s%N) && cat >"$0/.$name" && mv "$0/.$name" "$0/$name""#;
    setup.config["agents"] = json!([
        {"type": "oc-plugin", "url": format!("{url}/plugin"), "secret": "secret", "actor": 7, "timeout": 600},
        {"type": "webhook", "url": format!("{url}/webhook"), "timeout": 600},
        {"type": "command", "argv": ["/bin/sh", "-c", take, inbox], "timeout": 5_000},
    ]);
    setup
}

#[test]
fn the_oracle_notices_what_it_is_there_for() {
    let world = World::new(fastrand::Rng::with_seed(1));
    world.take_baseline();
    assert_eq!(oracle::complaints(&world), Vec::<String>::new());
    let mut dice = fastrand::Rng::with_seed(1);
    while oracle::is_settled(&world) {
        world.turn(&mut dice);
    }
    assert!(oracle::complaints(&world)[0].contains("was last told"));
    let told = |batch: &str, old: u64, new: u64, created: &str| {
        world.deliver(
            "plugin",
            &json!({"batchId": batch, "createdAt": created, "changes": [
                {"projection": "alpha", "old": {"n": old}, "new": {"n": new}},
            ]}),
        );
    };
    let complains = |about: &str| {
        let complaints = oracle::complaints(&world);
        assert!(complaints.iter().any(|complaint| complaint.contains(about)), "{about}: {complaints:#?}");
    };
    told("one", 0, 987_654, "2026-03-01T10:00:00.000Z");
    complains("never observed");
    complains("without room");
    told("one", 0, 987_655, "2026-03-01T10:00:00.000Z");
    complains("two contents");
    told("two", 0, 987_655, "2026-03-01T10:00:00.010Z");
    complains("two ids");
    complains("cooldown");
}
