//! Panics in the real process: what is restarted stays up, what panics too often ends in good order, and the next start
//! goes on.

use std::time::Duration;

use crate::{
    DUST, begin_life, oracle, setup,
    support::{DEADLINE, observe_for, wait_until},
    world::{COOLDOWN, World},
};

fn settle(world: &World) {
    wait_until(DUST, "the dust settles", || world.is_quiet(COOLDOWN * 3) && oracle::is_settled(world));
}

#[test]
fn beyond_the_intensity_the_process_ends_with_1_and_the_next_goes_on() {
    for actor in ["watcher", "scheduler", "pending", "supervisor"] {
        let world = World::new(fastrand::Rng::with_seed(1));
        let mut setup = setup(&world);
        let daemon = begin_life(&setup, &world);
        world.wait_for_polls(3);
        daemon.kill();
        world.take_baseline();
        world.turn_all();

        let point = if actor == "supervisor" || actor == "pending" { "handler" } else { "future" };
        setup.env = vec![("FAILPOINTS".to_owned(), format!("{actor}.{point}=3*off->panic(beyond repair)"))];
        let mut daemon = begin_life(&setup, &world);
        let status = daemon.wait_exit(DEADLINE);
        daemon.wait_for_log("error: ", DEADLINE);
        assert_eq!(status.code(), Some(1), "{actor}: {:#?}", daemon.log());
        // Three messages were handled before the first panic: each restart of another actor may use one up.
        assert_eq!(daemon.count_log(&format!("the {actor} panicked and is restarted")), 5, "{:#?}", daemon.log());
        // What it wrote last may still be on its way.
        daemon.wait_for_log(&format!("error: the {actor} panicked too often"), DEADLINE);
        assert!(daemon.log().iter().all(|line| !line.starts_with("thread '")), "raw panics: {:#?}", daemon.log());

        setup.env.clear();
        let daemon = begin_life(&setup, &world);
        settle(&world);
        assert_eq!(oracle::complaints(&world), Vec::<String>::new(), "{actor}");
        assert_eq!(daemon.count_log("panicked"), 0);
        daemon.terminate();
    }
}

#[test]
fn a_storm_within_the_intensity_is_ridden_out() {
    let world = World::new(fastrand::Rng::with_seed(1));
    let mut setup = setup(&world);
    let points = ["watcher.timer", "watcher.future", "scheduler.future", "scheduler.settle", "pending.committed"];
    let failing: Vec<_> = points.iter().map(|point| format!("{point}=20*off->2*panic(torn)->off")).collect();
    setup.env = vec![("FAILPOINTS".to_owned(), failing.join(";"))];
    let mut daemon = begin_life(&setup, &world);
    world.wait_for_polls(1);
    world.take_baseline();
    let mut dice = fastrand::Rng::with_seed(5);
    wait_until(DEADLINE, "every point was struck", || {
        world.turn(&mut dice);
        observe_for(Duration::from_millis(10));
        daemon.count_log("panicked and is restarted") == points.len() * 2
    });
    settle(&world);
    assert_eq!(oracle::complaints(&world), Vec::<String>::new());
    assert!(daemon.is_running());
    daemon.terminate();
}
