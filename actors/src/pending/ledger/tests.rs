//! The ledger and its store together, against a model, with failing commits and crashes between any two steps.
//!
//! The model is the world outside: what was observed last, and what each receiver believes. It knows nothing of entries
//! and leases.

use std::{collections::HashMap, time::Duration};

use futures_util::future::LocalBoxFuture;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    model::{
        availability::Free,
        document::{AvailabilityNote, Reason},
    },
    settings::Settings,
    source::{Observation, Source, SourceError, Validators},
    store::{Delivery, MemoryStore, Outcome, RedbStore},
};

const KEYS: [&str; 3] = ["a", "b?x=1", "c"];
const RECEIVERS: [&str; 3] = ["first", "second", "third"];
/// These two deliver to one who recognises a batch by its id.
const NEIGHBOURS: [&str; 2] = ["second", "third"];
const COOLDOWN: Duration = Duration::from_secs(60);

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// A sweep finds these values; 0 is none.
    Observe(Vec<(usize, u8)>),
    /// Batches are asked for.
    Lease { receivers: Vec<usize>, cooling: bool },
    /// A receiver takes its batch, or not, and answers, or not.
    Answer { receiver: usize, taken: bool, answer: Answer },
    /// Pushing is paused or resumed.
    Pause(bool),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Ack,
    No,
    Maybe,
}

/// What befalls a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    None,
    /// The disk is full.
    Full,
    /// The process dies before the commit.
    DiesBefore,
    /// It dies after the commit, before anybody is answered.
    DiesAfter,
}

fn any_step() -> impl Strategy<Value = (Step, Mishap)> {
    let receivers = prop::sample::subsequence((0..RECEIVERS.len()).collect::<Vec<_>>(), 1..=RECEIVERS.len());
    let step = prop_oneof![
        5 => prop::collection::vec((0..KEYS.len(), 0..3_u8), 1..4).prop_map(Step::Observe),
        4 => (receivers, any::<bool>()).prop_map(|(receivers, cooling)| Step::Lease { receivers, cooling }),
        4 => (0..RECEIVERS.len(), any::<bool>(), prop_oneof![
                3 => Just(Answer::Ack), 1 => Just(Answer::No), 2 => Just(Answer::Maybe),
            ]).prop_map(|(receiver, taken, answer)| Step::Answer { receiver, taken, answer }),
        1 => any::<bool>().prop_map(Step::Pause),
    ];
    let mishap = prop_oneof![
        6 => Just(Mishap::None),
        1 => Just(Mishap::Full),
        1 => Just(Mishap::DiesBefore),
        1 => Just(Mishap::DiesAfter),
    ];
    (step, mishap)
}

/// A disk: it outlives the process, and may be full.
trait TestDisk {
    fn store(&self) -> Arc<dyn Store>;
    fn restart(&mut self);
}

#[derive(Default)]
struct InMemory(Arc<MemoryStore>);

impl TestDisk for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    fn restart(&mut self) {}
}

struct OnDisk {
    folder: tempfile::TempDir,
    store: Option<Arc<RedbStore>>,
}

impl OnDisk {
    fn new() -> Self {
        let mut disk = Self { folder: tempfile::tempdir().expect("a folder"), store: None };
        disk.restart();
        disk
    }
}

impl TestDisk for OnDisk {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("it is open")) as Arc<dyn Store>
    }

    fn restart(&mut self) {
        self.store = None;
        let opened = RedbStore::open(self.folder.path()).expect("a store");
        assert_eq!(opened.set_aside, None);
        self.store = Some(Arc::new(opened.store));
    }
}

/// Refuses commits, if it is told to.
struct Full(Arc<dyn Store>, bool);

impl Store for Full {
    fn load(&self) -> Result<Saved, StoreError> {
        self.0.load()
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<store::Observed>>, StoreError> {
        self.0.observed(keys)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        if self.1 {
            return Err(StoreError::Database("it is full".to_owned()));
        }
        self.0.commit(writes)
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.0.deliveries(limit)
    }
}

/// The whole experiment.
struct Lab<D> {
    disk: D,
    ledger: Ledger,
    seconds: i64,
    observed: HashMap<ProjectionKey, State>,
    believes: HashMap<(ReceiverId, ProjectionKey), State>,
    /// What was handed out and not answered yet.
    out: BTreeMap<ReceiverId, Arc<Document>>,
    /// What each id stands for.
    contents: HashMap<Uuid, serde_json::Value>,
    /// Which of the neighbours each batch was for.
    recognised: HashMap<Uuid, ReceiverId>,
    paused: bool,
}

fn receiver(index: usize) -> ReceiverId {
    ReceiverId::new(RECEIVERS[index])
}

fn receivers() -> Vec<ReceiverId> {
    (0..RECEIVERS.len()).map(receiver).collect()
}

fn watched() -> Vec<Projection> {
    KEYS.iter().map(|key| key.parse().expect("a projection")).collect()
}

fn state(value: u8) -> State {
    (value > 0).then(|| Snapshot::new(json!({"value": value}), &[]))
}

impl<D: TestDisk> Lab<D> {
    fn new(disk: D) -> Self {
        let ledger = Ledger::open(&*disk.store(), &receivers(), &watched()).expect("a fresh store");
        let mut lab = Self {
            disk,
            ledger,
            seconds: 1_000,
            observed: HashMap::new(),
            believes: HashMap::new(),
            out: BTreeMap::new(),
            contents: HashMap::new(),
            recognised: HashMap::new(),
            paused: false,
        };
        // The baseline is what everybody knows.
        lab.step(&Step::Observe(vec![(0, 1), (1, 1), (2, 0)]), Mishap::None);
        let observed = lab.observed.clone();
        for id in receivers() {
            lab.believes.extend(observed.iter().map(|(key, state)| ((id.clone(), key.clone()), state.clone())));
        }
        lab
    }

    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(self.seconds.unsigned_abs())
    }

    /// Does it as the actor does: on a copy, which is taken over if all went well.
    fn transact<T>(
        &mut self,
        mishap: Mishap,
        work: impl FnOnce(&dyn Store, &mut Ledger) -> Result<T, StoreError>,
    ) -> Option<T> {
        let mut copy = self.ledger.clone();
        let refuses = matches!(mishap, Mishap::Full | Mishap::DiesBefore);
        let done = work(&Full(self.disk.store(), refuses), &mut copy);
        match (mishap, done) {
            (Mishap::None, Ok(value)) => {
                self.ledger = copy;
                self.compare();
                Some(value)
            }
            (Mishap::None, Err(error)) => panic!("{error}"),
            (Mishap::Full, Ok(value)) => {
                // Nothing had to be written.
                self.ledger = copy;
                self.compare();
                Some(value)
            }
            (Mishap::Full, Err(_)) => {
                self.compare();
                None
            }
            (Mishap::DiesBefore | Mishap::DiesAfter, _) => {
                self.restart();
                None
            }
        }
    }

    /// What is in memory is what is on the disk, so that a crash right here changes nothing.
    fn compare(&self) {
        let loaded = Ledger::open(&*self.disk.store(), &receivers(), &watched()).expect("a good store");
        assert_eq!(loaded.paused, self.ledger.paused);
        for (id, account) in &self.ledger.accounts {
            let saved = &loaded.accounts[id];
            assert_eq!(saved.map.entries(), account.map.entries(), "the entries of {id}");
            assert_eq!(saved.map.lease_state(), account.map.lease_state(), "the lease of {id}");
            assert_eq!(saved.record, account.record, "the record of {id}");
        }
    }

    /// The process ends, and a new one begins.
    fn restart(&mut self) {
        self.disk.restart();
        self.out.clear();
        self.ledger = Ledger::open(&*self.disk.store(), &receivers(), &watched()).expect("a good store");
        let mut copy = self.ledger.clone();
        copy.reopen(&*self.disk.store()).expect("a good store");
        self.ledger = copy;
        self.compare();
        // What was durable is what is known now.
        let keys: Vec<_> = watched().into_iter().map(|projection| projection.key).collect();
        let known = self.disk.store().observed(&keys).expect("a good store");
        self.observed = keys.into_iter().zip(known).filter_map(|(key, known)| Some((key, known?.state))).collect();
    }

    fn step(&mut self, step: &Step, mishap: Mishap) {
        self.seconds += 1;
        let now = self.now();
        match step {
            Step::Observe(values) => {
                let observations: BTreeMap<_, _> = values.iter().copied().collect();
                let observations: Vec<_> = observations
                    .into_iter()
                    .map(|(key, value)| Observed {
                        key: watched()[key].key.clone(),
                        state: state(value),
                        validators: Validators::default(),
                        view: String::new(),
                        at: now,
                    })
                    .collect();
                let done = self.transact(mishap, |store, ledger| {
                    ledger.record(store, &observations, FirstSeen::Baseline).map(drop)
                });
                if done.is_some() {
                    self.observed.extend(observations.into_iter().map(|observed| (observed.key, observed.state)));
                }
            }
            Step::Lease { receivers, cooling } => {
                let receivers: Vec<_> =
                    receivers.iter().map(|index| receiver(*index)).filter(|id| !self.out.contains_key(id)).collect();
                let repeats: Vec<_> =
                    receivers.iter().filter(|id| self.ledger.demands()[*id].repeats).cloned().collect();
                let wanted = Lease {
                    recognised_by: NEIGHBOURS.map(|id| (ReceiverId::new(id), "the neighbour".to_owned())).into(),
                    cooling: if *cooling { receivers.clone() } else { Vec::new() },
                    receivers,
                    reason: Reason::Available,
                    availability: AvailabilityNote { available: Some(3), min_available: 2 },
                    cooldown: COOLDOWN,
                };
                let setup = setup();
                let leased = self.transact(mishap, |store, ledger| ledger.lease(store, &wanted, now, &setup));
                for (id, document) in leased.unwrap_or_default() {
                    assert!(!cooling || repeats.contains(&id), "{id} cools down");
                    self.hand_out(id, document);
                }
            }
            Step::Answer { receiver: index, taken, answer } => {
                let id = receiver(*index);
                let Some(document) = self.out.remove(&id) else { return };
                // Who says no has not taken it; who says yes has.
                let taken = match answer {
                    Answer::Ack => true,
                    Answer::No => false,
                    Answer::Maybe => *taken,
                };
                if taken {
                    self.take(&id, &document);
                }
                let settle = settle(&id, &document, *answer, now);
                let done = self.transact(mishap, |store, ledger| ledger.settle(store, &settle, now));
                // The scheduler tries until it is stored, or dies.
                if done.is_none() && mishap == Mishap::Full {
                    self.transact(Mishap::None, |store, ledger| ledger.settle(store, &settle, now));
                }
            }
            Step::Pause(paused) => {
                if self.transact(mishap, |store, ledger| ledger.pause(store, *paused)).is_some() {
                    self.paused = *paused;
                }
                self.paused = self.ledger.paused;
            }
        }
        self.check();
    }

    fn hand_out(&mut self, id: ReceiverId, document: Arc<Document>) {
        let content = serde_json::to_value(&*document).expect("JSON");
        let first = self.contents.entry(document.envelope.batch_id).or_insert_with(|| content.clone());
        assert_eq!(*first, content, "one id, one content");
        let same = self.contents.iter().filter(|(_, other)| other["changes"] == content["changes"]);
        let mine = same.filter(|(_, other)| other["createdAt"] == content["createdAt"]).count();
        assert!(mine <= NEIGHBOURS.len(), "one content, one id for all but neighbours");
        if NEIGHBOURS.contains(&id.as_str()) {
            let first = self.recognised.entry(document.envelope.batch_id).or_insert_with(|| id.clone());
            assert_eq!(*first, id, "the neighbour takes it for a repetition");
        }
        self.out.insert(id, document);
    }

    fn take(&mut self, id: &ReceiverId, document: &Document) {
        for change in &document.changes {
            let value = serde_json::to_value(&change.new).expect("JSON");
            let state = (!value.is_null()).then(|| Snapshot::new(value, &[]));
            self.believes.insert((id.clone(), change.projection.clone()), state);
        }
    }

    /// Whoever does not know what is true has something pending.
    fn check(&self) {
        for ((id, key), believed) in &self.believes {
            let observed = self.observed.get(key).cloned().unwrap_or_default();
            if *believed != observed {
                let entries = self.ledger.accounts[id].map.entries();
                assert!(entries.contains_key(key), "{id} believes that {key} is {believed:?}, not {observed:?}");
            }
        }
    }

    /// Everybody is told everything, and then nothing is pending.
    fn settle(&mut self) {
        for _ in 0..3 {
            for index in 0..RECEIVERS.len() {
                self.step(&Step::Answer { receiver: index, taken: true, answer: Answer::Ack }, Mishap::None);
                self.step(&Step::Lease { receivers: vec![index], cooling: false }, Mishap::None);
            }
        }
        assert!(self.out.is_empty());
        assert!(self.ledger.counts().all(|(_, pending, _)| pending == 0));
        for ((id, key), believed) in &self.believes {
            let observed = self.observed.get(key).cloned().unwrap_or_default();
            assert_eq!(*believed, observed, "what {id} believes of {key}");
        }
    }
}

/// A setup that nobody runs: only its names matter.
fn setup() -> Setup {
    Setup::new(Settings::watching(Vec::new()), || Nowhere, || Free::Slots(0))
}

struct Nowhere;

impl Source for Nowhere {
    fn observe<'a>(
        &'a self,
        _: &'a Projection,
        _: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        Box::pin(async { Ok(Observation::Absent) })
    }
}

fn settle(id: &ReceiverId, document: &Document, answer: Answer, at: Timestamp) -> Settle {
    let (settlement, outcome) = match answer {
        Answer::Ack => (Settlement::Ack, Outcome::Delivered),
        Answer::No => (Settlement::Release(Reached::No), Outcome::Failed),
        Answer::Maybe => (Settlement::Release(Reached::Maybe), Outcome::Failed),
    };
    Settle {
        settlement,
        cooldown: (!matches!(answer, Answer::No)).then_some(COOLDOWN),
        delivery: Delivery {
            at,
            receiver: id.clone(),
            batch_id: document.envelope.batch_id,
            reason: document.envelope.reason,
            changes: document.changes.len(),
            outcome,
            detail: String::new(),
            took_ms: 1,
        },
    }
}

fn run(disk: impl TestDisk, steps: &[(Step, Mishap)]) {
    let mut lab = Lab::new(disk);
    for (step, mishap) in steps {
        lab.step(step, *mishap);
    }
    lab.restart();
    lab.settle();
}

proptest! {
    #[test]
    fn whatever_happens_everybody_knows_what_is_true_in_the_end(
        steps in prop::collection::vec(any_step(), 1..60)
    ) {
        run(InMemory::default(), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_same_holds_on_a_real_disk(steps in prop::collection::vec(any_step(), 1..30)) {
        run(OnDisk::new(), &steps);
    }
}
