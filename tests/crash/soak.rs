//! A long life at high pace with faults of every kind: memory, file handles and threads stay flat, and in the end
//! everybody knows what is true. `SOAK_SECONDS` makes it long.

use std::{fs, time::Duration};

use crate::{
    DUST, begin_life, number, oracle, setup,
    support::{now, observe_for, wait_until},
    world::{COOLDOWN, World},
};

/// How long it takes in the plain test command.
const SECONDS: u64 = 6;

/// From here on every sample has time for deliveries.
const LONG: Duration = Duration::from_secs(600);

/// How many times the figures are taken.
const SAMPLES: u32 = 20;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Figures {
    rss_kib: u64,
    files: usize,
    threads: u64,
}

impl Figures {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("such a line");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process").count();
        Self { rss_kib: number("VmRSS:"), files, threads: number("Threads:") }
    }
}

#[test]
fn a_long_life_at_high_pace_stays_flat() {
    let span = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(SECONDS));
    let mut dice = fastrand::Rng::with_seed(number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..)));
    let world = World::new(dice.fork());
    let setup = setup(&world);
    let daemon = begin_life(&setup, &world);
    world.wait_for_polls(3);
    world.take_baseline();
    world.calm(false);

    let mut samples: Vec<Figures> = Vec::new();
    let mut delivered = 0;
    for number in 1..=SAMPLES {
        let start = now();
        while start.elapsed() < span / SAMPLES {
            world.turn(&mut dice);
            observe_for(Duration::from_millis(dice.u64(1..20)));
        }
        let sample = Figures::of(daemon.id());
        println!("{number}/{SAMPLES}: {sample:?}, {} deliveries so far", world.delivered());
        samples.push(sample);
        // Receivers that take two of three deliveries are told all the time.
        assert!(span < LONG || world.delivered() > delivered, "nothing was delivered for {:?}", span / SAMPLES);
        delivered = world.delivered();
    }
    world.calm(true);
    // Something new for everybody: what was refused for good is not tried again as it is.
    world.turn_all();
    wait_until(DUST * 2, "the dust settles", || world.is_quiet(COOLDOWN * 3) && oracle::is_settled(&world));
    assert_eq!(oracle::complaints(&world), Vec::<String>::new());
    for word in ["panicked", "ERROR the state"] {
        assert_eq!(daemon.count_log(word), 0, "{word}");
    }
    println!("{}", oracle::figures(&world, 0));

    // The first quarter is for warming up.
    let (early, late) = samples[SAMPLES as usize / 4..].split_at(SAMPLES as usize * 3 / 8);
    let most = |samples: &[Figures]| samples.iter().map(|sample| sample.rss_kib).max().expect("samples");
    let (early_rss, late_rss) = (most(early), most(late));
    assert!(late_rss < early_rss + 4_096, "resident memory: up to {early_rss} KiB, later up to {late_rss} KiB");
    let files = |samples: &[Figures]| samples.iter().map(|sample| sample.files).max().expect("samples");
    assert!(files(late) <= files(early) + 8, "open files: {samples:#?}");
    let threads = |samples: &[Figures]| samples.iter().map(|sample| sample.threads).max().expect("samples");
    assert!(threads(late) <= threads(early) + 2, "threads: {samples:#?}");
}
