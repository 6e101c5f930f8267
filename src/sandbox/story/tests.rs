//! The story shows what it promises to a dispatcher with the sandbox's intervals.

use std::{cell::RefCell, collections::BTreeMap};

use ograph_dispatcher_actors::model::{
    document::{AvailabilityNote, Envelope, Reason},
    key::{Projection, ProjectionKey},
    merge::{Effect, MergeMap},
    time::Timestamp,
    value::{Digest, Snapshot, State},
};

use super::*;

const MIN_AVAILABLE: u64 = 2;
const COOLDOWN: u64 = 6_000;
const IDLE: u64 = 2_000;
const ACTIVE: u64 = 500;
/// How long both actors stay at the active pace after the last change.
const STAY_ACTIVE: u64 = 2_000;
/// How many polls a projection must be away to count as removed.
const AWAY: u32 = 3;

/// What a dispatcher with the sandbox's intervals makes of the story.
#[derive(Debug, Default)]
struct Seen {
    /// When, the effect of an observation, and whether it found the dispatcher in cooldown or OpenClaw busy.
    observed: Vec<(u64, Effect, Held)>,
    /// When, and what.
    pushed: Vec<(u64, Vec<Told>)>,
    /// How many answers were other text, but the same value.
    rewritten: usize,
}

/// Whether a change had a value before and has one now, and how often it was folded.
type Told = (bool, bool, u64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Cooldown,
    Busy,
    No,
}

/// A dispatcher in miniature, in steps of 100 ms; `phase` shifts its polls against the story.
fn watch(seed: u64, phase: u64, cycles: u64) -> Seen {
    let mut story = Story::new(seed);
    let mut script = Vec::new();
    let mut actions = story.opening();
    for cycle in 0..cycles {
        let start = cycle * millis(CYCLE);
        script.extend(story.next_cycle().into_iter().map(|step| (start + millis(step.at), step.what)));
    }
    let mut script = script.into_iter().peekable();

    let (mut world, mut busy) = (BTreeMap::<String, Value>::new(), 0);
    let mut known = BTreeMap::<String, (State, String, u32)>::new();
    let mut pending = MergeMap::<State>::default();
    let mut seen = Seen::default();
    let (mut next_poll, mut next_push, mut cooldown, mut last_change) = (phase, phase, 0, None::<u64>);
    for now in (0..cycles * millis(CYCLE)).step_by(100) {
        while let Some((_, action)) = script.next_if(|(at, _)| *at <= now) {
            actions.push(action);
        }
        for action in actions.drain(..) {
            match action {
                Action::Put { projection, value } => drop(world.insert(projection, value)),
                Action::Remove { projection } => drop(world.remove(&projection)),
                Action::Busy(slots) => busy = slots,
            }
        }
        let held = match (now < cooldown, SLOTS - busy < MIN_AVAILABLE) {
            (true, _) => Held::Cooldown,
            (false, true) => Held::Busy,
            (false, false) => Held::No,
        };
        if now >= next_poll {
            for name in Story::projections() {
                let state = world.get(&name).map(|value| Snapshot::new(value.clone(), &[]));
                let text = world.get(&name).map(ToString::to_string).unwrap_or_default();
                let Some((old, old_text, away)) = known.get_mut(&name) else {
                    known.insert(name, (state, text, 0));
                    continue;
                };
                *away = if state.is_none() { *away + 1 } else { 0 };
                if state.is_none() && *away < AWAY {
                    continue;
                }
                seen.rewritten += usize::from(state == *old && text != *old_text);
                *old_text = text;
                if state != *old {
                    let effect = pending.observe(&ProjectionKey::new(name), old, &state, time(now));
                    seen.observed.push((now, effect, held));
                    *old = state;
                    last_change = Some(now);
                    // The news reaches the scheduler too.
                    next_push = next_push.min(now + ACTIVE);
                }
            }
            let active = last_change.is_some_and(|at| now - at < STAY_ACTIVE);
            next_poll = now + if active { ACTIVE } else { IDLE };
        }
        if now >= next_push {
            if held == Held::No
                && let Some(batch) = pending.lease(&envelope(now))
            {
                let changes = batch
                    .changes
                    .values()
                    .map(|frozen| (frozen.change.from.is_some(), frozen.change.to.is_some(), frozen.change.merged));
                seen.pushed.push((now, changes.collect()));
                pending.ack(envelope(now).batch_id);
                cooldown = now + COOLDOWN;
            }
            next_push = now + if pending.entries().is_empty() { IDLE } else { ACTIVE };
        }
    }
    seen
}

fn envelope(now: u64) -> Envelope {
    Envelope {
        batch_id: serde_json::from_value(json!("00000000-0000-7000-8000-000000000000")).unwrap(),
        created_at: time(now),
        reason: Reason::Available,
        availability: AvailabilityNote { available: None, min_available: MIN_AVAILABLE },
    }
}

fn time(now: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_millis(now)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

#[test]
fn everything_is_seen_within_45_seconds_whenever_the_polls_fall() {
    for seed in 0..10 {
        for phase in (0..IDLE).step_by(100) {
            let seen = watch(seed, phase, 2);
            let told = format!("seed {seed}, phase {phase}: {seen:#?}");
            let first = seen.observed.first().expect(&told);
            assert!(first.0 >= 4_000 && first.1 == Effect::Added, "a silent baseline, then a change; {told}");
            assert!(first.2 == Held::No, "it finds room; {told}");
            let within = |at: &u64| *at <= 45_000;
            let pushes: Vec<_> = seen.pushed.iter().filter(|(at, _)| within(at)).collect();
            assert_eq!(pushes[0].1, [(true, true, 1)], "the first push is one change; {told}");
            assert!(
                seen.observed[1].2 == Held::Cooldown && pushes[1].0 - pushes[0].0 >= COOLDOWN,
                "cooldown holds the second change back; {told}"
            );
            assert_eq!(pushes[1].1, [(true, true, 1)], "{told}");

            let merged = &pushes[2];
            let while_busy =
                seen.observed.iter().filter(|(at, _, held)| (15_000..24_000).contains(at) && *held == Held::Busy);
            assert!(while_busy.count() >= 3, "changes find OpenClaw busy; {told}");
            assert!((24_000..27_000).contains(&merged.0), "one push as soon as there is room; {told}");
            let mut folded: Vec<_> = merged.1.iter().map(|(_, _, merged)| *merged).collect();
            folded.sort_unstable();
            assert!(folded.len() == 2 && folded[0] == 1 && folded[1] >= 2, "with what was merged; {told}");
            assert!(seen.rewritten >= 1, "another order of members is no change; {told}");

            let cancelled = seen.observed.iter().find(|(_, effect, _)| *effect == Effect::Cancelled).expect(&told);
            assert!((31_500..34_000).contains(&cancelled.0), "a change that is undone vanishes; {told}");
            let next = &pushes[3];
            assert!((35_000..38_000).contains(&next.0), "and nothing was sent for it; {told}");
            assert_eq!(next.1, [(false, true, 1)], "a task appears; {told}");
            assert!(seen.pushed[4].1.contains(&(true, false, 1)), "another one is removed; {told}");
        }
    }
}

#[test]
fn every_later_cycle_shows_the_same_scenes() {
    for seed in 0..20 {
        let seen = watch(seed, 700, 12);
        let cancelled = seen.observed.iter().filter(|(_, effect, _)| *effect == Effect::Cancelled).count();
        assert_eq!(cancelled, 12, "seed {seed}: {seen:#?}");
        assert_eq!(seen.rewritten, 12, "seed {seed}");
        let kinds =
            |from: bool, to: bool| seen.pushed.iter().flat_map(|(_, c)| c).filter(|c| (c.0, c.1) == (from, to)).count();
        assert!(kinds(false, true) >= 12, "seed {seed}: a task appears in each");
        assert!(kinds(true, false) >= 11, "seed {seed}: a task is gone in each");
    }
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_one_another() {
    let tell = |seed| {
        let mut story = Story::new(seed);
        [story.next_cycle(), story.next_cycle()]
    };
    assert_eq!(tell(7), tell(7));
    assert_ne!(tell(7), tell(8));
    let [first, second] = tell(7);
    assert_ne!(first, second, "the story repeats with variations");
}

#[test]
fn steps_are_in_order_within_the_cycle_and_name_watched_projections() {
    let watched = Story::projections();
    let mut story = Story::new(3);
    for _ in 0..50 {
        let steps = story.next_cycle();
        assert!(steps.is_sorted_by_key(|step| step.at) && steps.last().unwrap().at < CYCLE);
        for step in steps {
            assert!(!step.narration.contains('\n') && step.narration.len() < 130, "{}", step.narration);
            match step.what {
                Action::Put { projection, .. } | Action::Remove { projection } => {
                    assert!(watched.contains(&projection), "{projection}");
                    assert_eq!(projection.parse::<Projection>().unwrap().key.as_str(), projection);
                    assert_ne!(projection, PLAYGROUND, "it belongs to the person who watches");
                }
                Action::Busy(slots) => assert!(slots <= SLOTS),
            }
        }
    }
}

#[test]
fn a_rewritten_task_has_other_text_but_the_same_value() {
    let mut task = Story::new(1).residents.remove(0);
    let value = |task: &Task| match task.put() {
        Action::Put { value, .. } => value,
        other => panic!("{other:?}"),
    };
    let before = value(&task);
    task.backwards = true;
    let after = value(&task);
    assert_ne!(before.to_string(), after.to_string());
    assert_eq!(Digest::of(&before), Digest::of(&after));
}

#[actix_rt::test]
async fn the_story_is_played_on_the_stand_ins_in_its_time() {
    let ograph = OGraphStandIn::start("t").unwrap();
    let openclaw = OpenClawStandIn::start("t", SLOTS).unwrap();
    let story = Story::new(5);
    open(&story, &ograph, &openclaw);
    let words: Vec<_> = story.clone().next_cycle().into_iter().map(|step| step.narration).collect();
    let gone = story.absent.id;
    assert_eq!(ograph.remove(&projection(gone)), Ok(false), "the absent task has no projection yet");

    tokio::time::pause();
    let told = RefCell::new(Vec::new());
    let play = play(story, &ograph, &openclaw, |line: &str| told.borrow_mut().push(line.to_owned()));
    let end = tokio::time::timeout(Duration::from_millis(41_900), play).await;
    assert!(end.is_err(), "the story does not end by itself");
    assert_eq!(*told.borrow(), words);
    assert_eq!(ograph.remove(&projection(gone)), Ok(true), "it has appeared");
    assert_eq!(ograph.remove(PLAYGROUND), Ok(true), "the playground is as it was");
}
