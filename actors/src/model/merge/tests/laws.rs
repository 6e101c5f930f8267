//! The laws of the merge map, tested against a model that merges nothing: it remembers everything that happened.
//!
//! Per projection the model keeps the whole history of values, which of them the receiver was certainly told last, and
//! which it may have been told since. From these alone it derives what has to be pending, and how a batch must put it.
//! Beside it stands a receiver that really gets the batches, or does not.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

/// A projection's value; `None` stands for a projection that has none.
type V = Option<u8>;

const KEYS: [&str; 2] = ["a", "b?x=1"];

/// What is done to a map.
#[derive(Clone, Debug)]
enum Action {
    /// A value is observed; `millis` is the wall clock, which may jump.
    Observe { key: usize, value: V, millis: i64 },
    /// A batch is asked for.
    Lease,
    /// The batch in flight is delivered.
    Ack,
    /// The batch in flight certainly fails.
    ReleaseNo,
    /// The batch in flight fails, but may have arrived; only we know whether it did.
    ReleaseMaybe { arrived: bool },
    /// An answer comes for a batch that is not out.
    Stray,
    /// The process ends and starts again. A batch that was out may have arrived.
    Restart { arrived: bool },
}

fn any_value() -> impl Strategy<Value = V> {
    prop_oneof![Just(None), Just(Some(0)), Just(Some(1))]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..KEYS.len(), any_value(), 0..50i64)
            .prop_map(|(key, value, millis)| Action::Observe { key, value, millis }),
        4 => Just(Action::Lease),
        1 => Just(Action::Ack),
        1 => Just(Action::ReleaseNo),
        2 => any::<bool>().prop_map(|arrived| Action::ReleaseMaybe { arrived }),
        1 => Just(Action::Stray),
        1 => any::<bool>().prop_map(|arrived| Action::Restart { arrived }),
    ]
}

/// All that ever happened to one projection.
struct Story {
    /// Every value in turn and when it was observed; the first is the baseline.
    history: Vec<(V, Timestamp)>,
    /// Which of them the receiver was certainly told last; the baseline counts as told.
    certain: usize,
    /// Which of them it may have been told since.
    in_doubt: Vec<usize>,
    /// Which of them is on its way.
    leased: Option<usize>,
    /// The last one at which there was nothing to tell, or that was acknowledged: changes are counted from there.
    counted_from: usize,
}

impl Story {
    fn new(baseline: V) -> Self {
        Self { history: vec![(baseline, at(0))], certain: 0, in_doubt: vec![], leased: None, counted_from: 0 }
    }

    fn value(&self, index: usize) -> V {
        self.history[index].0
    }

    fn latest(&self) -> V {
        self.value(self.history.len() - 1)
    }

    /// What the receiver may believe.
    fn beliefs(&self) -> BTreeSet<V> {
        let told = self.in_doubt.iter().copied().chain(self.leased).chain([self.certain]);
        told.map(|index| self.value(index)).collect()
    }

    /// Something has to be told as long as the receiver may believe anything but the latest value.
    fn is_pending(&self) -> bool {
        self.beliefs().iter().any(|belief| *belief != self.latest())
    }

    fn settle(&mut self) {
        if !self.is_pending() {
            self.counted_from = self.history.len() - 1;
        }
    }

    fn observe(&mut self, value: V, now: Timestamp) -> Effect {
        if value == self.latest() {
            return Effect::None;
        }
        let was_pending = self.is_pending();
        let previous = self.history[self.history.len() - 1].1;
        self.history.push((value, if was_pending { now.max(previous) } else { now }));
        self.settle();
        match (was_pending, self.is_pending()) {
            (false, _) => Effect::Added,
            (true, true) => Effect::Merged,
            (true, false) => Effect::Cancelled,
        }
    }

    fn acked(&mut self) {
        if let Some(leased) = self.leased.take() {
            self.certain = leased;
            self.in_doubt.clear();
            self.counted_from = leased;
            self.settle();
        }
    }

    fn released(&mut self, reached: Reached) {
        if let Some(leased) = self.leased.take() {
            self.in_doubt.extend((reached == Reached::Maybe).then_some(leased));
            self.settle();
        }
    }

    /// The change from what was certainly told to the latest value.
    fn merged(&self) -> MergedChange<V> {
        let last = self.history.len() - 1;
        MergedChange {
            from: self.value(self.certain),
            to: self.latest(),
            merged: (last - self.counted_from) as u64,
            first_changed_at: self.history[self.counted_from + 1].1,
            last_changed_at: self.history[last].1,
        }
    }

    /// The change as a batch puts it: from what was certainly told, or else from the last value in doubt.
    fn told(&self) -> MergedChange<V> {
        let change = self.merged();
        let in_doubt = self.in_doubt.iter().rev().map(|index| self.value(*index));
        let old = [change.from].into_iter().chain(in_doubt).find(|old| *old != change.to);
        MergedChange { from: old.expect("an old value that is not the new one"), ..change }
    }
}

type Content = BTreeMap<ProjectionKey, MergedChange<V>>;

fn content(batch: &Batch<V>) -> Content {
    batch.changes.iter().map(|(key, frozen)| (key.clone(), frozen.change.clone())).collect()
}

/// One that gets the batches.
#[derive(Default)]
struct Listener {
    told: HashMap<ProjectionKey, V>,
    batches: HashMap<Uuid, Content>,
}

impl Listener {
    fn hear(&mut self, batch: &Batch<V>) {
        self.told.extend(batch.changes.iter().map(|(key, frozen)| (key.clone(), frozen.change.to)));
    }
}

/// Which value of which projection a batch tells: the identity of its content.
type Told = BTreeMap<&'static str, usize>;

/// The map under test, the model, and a receiver.
struct World {
    map: MergeMap<V>,
    stories: [Story; KEYS.len()],
    listener: Listener,
    /// The batch handed out last and not acknowledged.
    last: Option<(Batch<V>, Told)>,
    batches: u128,
}

impl World {
    fn new(baselines: [V; KEYS.len()]) -> Self {
        Self {
            map: MergeMap::default(),
            stories: baselines.map(Story::new),
            listener: Listener::default(),
            last: None,
            batches: 0,
        }
    }

    fn stories(&self) -> impl Iterator<Item = (ProjectionKey, &Story)> {
        KEYS.into_iter().map(key).zip(&self.stories)
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Observe { key: index, value, millis } => {
                let story = &mut self.stories[index];
                let old = story.latest();
                let effect = self.map.observe(&key(KEYS[index]), &old, &value, at(millis));
                assert_eq!(effect, story.observe(value, at(millis)));
            }
            Action::Lease => self.lease(),
            Action::Ack => self.answer(None, true),
            Action::ReleaseNo => self.answer(Some(Reached::No), false),
            Action::ReleaseMaybe { arrived } => self.answer(Some(Reached::Maybe), arrived),
            Action::Stray => {
                let out = self.map.in_flight().map(|batch| batch.envelope.batch_id);
                let before = self.map.clone();
                for id in (0..=self.batches + 1).map(Uuid::from_u128).filter(|id| Some(*id) != out) {
                    assert!(!self.map.ack(id) && !self.map.release(id, Reached::Maybe));
                }
                assert_eq!(self.map, before);
            }
            Action::Restart { arrived } => {
                let entries = serde_json::to_string(self.map.entries()).expect("JSON");
                let lease = serde_json::to_string(&self.map.lease_state()).expect("JSON");
                let restored = MergeMap::restore(
                    serde_json::from_str(&entries).expect("entries"),
                    serde_json::from_str(&lease).expect("a lease"),
                );
                let before = std::mem::replace(&mut self.map, restored);
                assert_eq!(self.map.entries(), before.entries());
                assert_eq!(self.map.lease_state(), before.lease_state());
                self.answer(Some(Reached::Maybe), arrived);
            }
        }
    }

    fn lease(&mut self) {
        let told: Told = KEYS
            .into_iter()
            .zip(&self.stories)
            .filter(|(_, story)| story.is_pending())
            .map(|(key, story)| (key, story.history.len() - 1))
            .collect();
        let is_out = self.map.in_flight().is_some();
        self.batches += 1;
        let fresh = envelope(self.batches);
        let batch = self.map.lease(&fresh).cloned();
        assert_eq!(batch.is_some(), !is_out && !told.is_empty());
        let Some(batch) = batch else { return };

        let should: Content =
            self.stories().filter(|(_, story)| story.is_pending()).map(|(key, story)| (key, story.told())).collect();
        assert_eq!(content(&batch), should);
        assert!(should.values().all(|change| change.from != change.to && change.merged >= 1));
        assert!(should.values().all(|change| change.first_changed_at <= change.last_changed_at));

        match &self.last {
            Some((last, same)) if *same == told => assert_eq!(&batch, last, "unchanged content is the same batch"),
            _ => assert_eq!(batch.envelope, fresh, "changed content has a new id"),
        }
        let known = self.listener.batches.entry(batch.envelope.batch_id).or_insert_with(|| should.clone());
        assert_eq!(*known, should, "an id stands for one content");

        for (key, story) in KEYS.iter().zip(&mut self.stories) {
            story.leased = told.get(key).copied();
        }
        self.last = Some((batch, told));
    }

    /// The batch that is out, if one is, is acknowledged or comes back.
    fn answer(&mut self, failed: Option<Reached>, arrived: bool) {
        let Some(batch) = self.map.in_flight().cloned() else { return };
        if arrived {
            self.listener.hear(&batch);
        }
        let id = batch.envelope.batch_id;
        if let Some(reached) = failed {
            assert!(self.map.release(id, reached));
            self.stories.iter_mut().for_each(|story| story.released(reached));
        } else {
            assert!(self.map.ack(id));
            self.stories.iter_mut().for_each(Story::acked);
            self.last = None;
        }
    }

    /// What must be so at any time.
    fn check(&self) {
        let pending: BTreeMap<_, _> =
            self.stories().filter(|(_, story)| story.is_pending()).map(|(key, story)| (key, story.merged())).collect();
        let entries: BTreeMap<_, _> =
            self.map.entries().iter().map(|(key, entry)| (key.clone(), entry.change.clone())).collect();
        assert_eq!(entries, pending, "pending is exactly what the receiver may not know");

        let waiting = self.stories.iter().filter(|s| s.is_pending() && s.leased != Some(s.history.len() - 1)).count();
        assert_eq!(self.map.waiting(), waiting);

        let out =
            self.last.as_ref().map(|(batch, _)| batch).filter(|_| self.stories.iter().any(|s| s.leased.is_some()));
        assert_eq!(self.map.in_flight(), out, "what is out does not change");

        for (key, story) in self.stories() {
            let believes = self.listener.told.get(&key).copied().unwrap_or(story.history[0].0);
            assert!(story.beliefs().contains(&believes), "{key}: {believes:?} not in {:?}", story.beliefs());
        }
    }

    /// From now on every delivery succeeds: afterwards the receiver must know the truth.
    fn drain(&mut self) {
        for _ in 0..3 {
            self.act(&Action::Ack);
            self.check();
            self.act(&Action::Lease);
            self.check();
        }
        assert!(self.map.entries().is_empty() && self.map.in_flight().is_none(), "two deliveries settle everything");
        for (key, story) in self.stories() {
            let believes = self.listener.told.get(&key).copied().unwrap_or(story.history[0].0);
            assert_eq!(believes, story.latest(), "{key}");
        }
    }
}

/// Folds `values`, observed one after the other.
fn fold(values: &[u8]) -> Option<MergedChange<u8>> {
    let mut map = MergeMap::default();
    for (step, now) in values.windows(2).zip(1..) {
        map.observe(&key("k"), &step[0], &step[1], at(now));
    }
    map.entries().get("k").map(|entry| entry.change.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_order_of_events_breaks_the_laws(
        baselines in prop::array::uniform2(any_value()),
        actions in prop::collection::vec(any_action(), 0..80),
    ) {
        let mut world = World::new(baselines);
        for action in &actions {
            world.act(action);
            world.check();
        }
        world.drain();
    }

    #[test]
    fn folding_in_any_grouping_gives_the_same_change(steps in prop::collection::vec((0u8..4, any::<bool>()), 2..12)) {
        let all: Vec<u8> = steps.iter().map(|(value, _)| *value).collect();
        // Some of the steps between the first and the last are not seen.
        let last = steps.len() - 1;
        let seen: Vec<u8> =
            steps.iter().enumerate().filter(|(i, (_, seen))| *seen || *i == 0 || *i == last).map(|(_, (v, _))| *v).collect();
        let ends = |change: Option<MergedChange<u8>>| change.map(|change| (change.from, change.to));
        prop_assert_eq!(ends(fold(&all)), ends(fold(&seen)));
        prop_assert_eq!(ends(fold(&all)), ends(fold(&[all[0], all[last]])));
    }

    #[test]
    fn merged_is_the_number_of_distinct_changes(values in prop::collection::vec(0u8..4, 1..12)) {
        let mut distinct = values.clone();
        distinct.dedup();
        // What came before the value was last what the receiver knows has cancelled out.
        let start = distinct.iter().rposition(|value| *value == values[0]).expect("the first");
        let merged = fold(&values).map_or(0, |change| change.merged);
        prop_assert_eq!(merged, (distinct.len() - 1 - start) as u64);
    }
}
