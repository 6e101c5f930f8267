//! Death before and after every durable step and every call of a receiver: each named fail point of the actors in turn.

use std::{collections::BTreeSet, fs, path::Path, sync::Mutex, time::Duration};

use serde_json::json;

use crate::{
    DUST, begin_life, oracle, setup,
    support::{Setup, Signal, now, observe_for},
    world::{COOLDOWN, World},
};

/// How long a life lasts at most. Almost every point is passed within the first second.
const LIFE: Duration = Duration::from_secs(8);

/// The same for a life that waits for a point to be passed again.
const SECOND_LIFE: Duration = Duration::from_millis(1_500);

/// How many points are tried at once. They wait more than they work.
const AT_ONCE: usize = 6;

/// Points that no daemon without a control server passes.
const OUT_OF_REACH: [&str; 2] = ["pause.commit", "pause.committed"];

#[test]
fn it_may_die_before_and_after_every_durable_step_and_every_call_of_a_receiver() {
    let mut points = fail_points();
    assert!(points.len() > 30, "{points:?}");
    points.retain(|point| !OUT_OF_REACH.contains(&point.as_str()));
    if let Ok(only) = std::env::var("CRASH_POINT") {
        points.retain(|point| *point == only);
    }
    let (left, complaints) = (Mutex::new(points), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(point) = left.lock().expect("no panic").pop_first() else { return };
                    let found = die_at(&point);
                    complaints.lock().expect("no panic").extend(found);
                }
            });
        }
    });
    let complaints = complaints.into_inner().expect("no panic");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Every point that the sources name, so that a new one is never forgotten here.
fn fail_points() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let names = text.split("failpoint!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

/// Dies when it comes to `point` for the first time, and in the next life when it comes there again; then it lives.
fn die_at(point: &str) -> Vec<String> {
    let world = World::new(fastrand::Rng::with_seed(7));
    let mut setup = setup(&world);
    let mut dice = fastrand::Rng::with_seed(11);
    if !point.starts_with("store.beg") {
        // A restart finds a batch under way, and a receiver that is no longer configured.
        let agents = setup.config["agents"].clone();
        setup.config["agents"].as_array_mut().expect("a list").push(json!({"type": "command", "argv": ["/bin/true"]}));
        setup.env = failing("deliver.call=return".to_owned());
        let mut daemon = begin_life(&setup, &world);
        world.wait_for_polls(3);
        world.take_baseline();
        world.turn_all();
        daemon.wait_exit(LIFE);
        setup.config["agents"] = agents;
    }
    if point.starts_with("store.set") || point == "store.is_set_aside" {
        fs::write(setup.state_dir().join("state.redb"), "this is no store").expect("a damaged store");
    }
    let mut complaints = Vec::new();
    setup.env = failing(format!("{point}=return"));
    if !live(&setup, &world, &mut dice, LIFE) {
        complaints.push("it was never passed".to_owned());
    }
    // Some things are done only once in a life.
    setup.env = failing(format!("{point}=1*off->return"));
    live(&setup, &world, &mut dice, SECOND_LIFE);
    setup.env.clear();
    let daemon = begin_life(&setup, &world);
    if point.starts_with("store.") {
        // A fresh baseline: only what changes from now on is told.
        world.wait_for_polls(3);
        world.turn_all();
    }
    let start = now();
    while !(world.is_quiet(COOLDOWN * 2) && oracle::is_settled(&world)) && start.elapsed() < DUST {
        observe_for(Duration::from_millis(20));
    }
    for word in ["panicked", "ERROR"] {
        if daemon.count_log(word) > 0 {
            complaints.push(format!("{word} in the log of the last life: {:#?}", daemon.log()));
        }
    }
    complaints.extend(oracle::complaints(&world));
    if !complaints.is_empty() {
        complaints.push(format!("the log of the last life: {:#?}", daemon.log()));
    }
    complaints.into_iter().map(|complaint| format!("dying at {point}: {complaint}")).collect()
}

fn failing(points: String) -> Vec<(String, String)> {
    vec![("FAILPOINTS".to_owned(), points)]
}

/// One life, in which everything happens that a daemon can be made to do; whether it died.
fn live(setup: &Setup, world: &World, dice: &mut fastrand::Rng, span: Duration) -> bool {
    let mut daemon = begin_life(setup, world);
    world.allow_anything();
    let start = now();
    let mut step = 0_u32;
    while start.elapsed() < span && daemon.is_running() {
        step += 1;
        world.turn(dice);
        if world.has_polled() {
            match step % 20 {
                5 => daemon.signal(Signal::USR1),
                15 => daemon.signal(Signal::HUP),
                _ => {}
            }
        }
        observe_for(Duration::from_millis(10));
    }
    let died = !daemon.is_running();
    daemon.kill();
    world.wait_until_idle();
    died
}
