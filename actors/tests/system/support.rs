//! A world for the actors to live in: a source, an availability and receivers whose answers a test sets, and which
//! record what they were asked, on paused time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use ograph_dispatcher_actors::{
    Dispatcher, Handle, Settings, Setup,
    availability::{Availability, AvailabilityError},
    clock::{Clock as _, TestClock},
    model::{
        availability::Free,
        document::Document,
        key::{Projection, ProjectionKey},
        receiver::ReceiverId,
        time::Timestamp,
    },
    receivers::{DeliveryError, DeliveryErrorKind, Guarantee, Reached, Receipt, Receiver},
    source::{Observation, Source, SourceError, Validators},
    store::{MemoryStore, Saved, Store, StoreError, Write},
};
use serde_json::Value;

/// Everything that the actors see, and all that they did.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

pub(crate) struct State {
    start: TestClock,
    pub(crate) projections: BTreeMap<String, Answer>,
    pub(crate) room: Result<Free, AvailabilityError>,
    /// How long the availability takes to answer.
    pub(crate) room_delay: Duration,
    pub(crate) outcomes: HashMap<String, VecDeque<Delivery>>,
    /// When each projection was polled, in seconds since the start.
    pub(crate) polls: Vec<(f64, String)>,
    pub(crate) room_polls: Vec<f64>,
    /// What was delivered, or attempted.
    pub(crate) attempts: Vec<Attempt>,
    polling: HashMap<String, usize>,
}

/// How a projection answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Value(Value),
    Absent,
    Error(SourceError),
    /// An error, after a while.
    SlowError(Duration, SourceError),
    Panic,
}

/// How a receiver answers an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    Ok,
    /// Success, after a while.
    Slow(Duration),
    Fail(DeliveryErrorKind, Reached),
    Panic,
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) at: f64,
    pub(crate) receiver: String,
    pub(crate) document: Document,
    pub(crate) ok: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            start: TestClock::starting_at(Timestamp::EPOCH),
            projections: BTreeMap::new(),
            room: Ok(Free::Slots(2)),
            room_delay: Duration::ZERO,
            outcomes: HashMap::new(),
            polls: Vec::new(),
            room_polls: Vec::new(),
            attempts: Vec::new(),
            polling: HashMap::new(),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the world")
    }

    pub(crate) fn set(&self, projection: &str, value: Value) {
        self.answer(projection, Answer::Value(value));
    }

    pub(crate) fn answer(&self, projection: &str, answer: Answer) {
        self.state().projections.insert(projection.to_owned(), answer);
    }

    pub(crate) fn slots(&self, slots: u64) {
        self.state().room = Ok(Free::Slots(slots));
    }

    pub(crate) fn will(&self, receiver: &str, outcomes: impl IntoIterator<Item = Delivery>) {
        self.state().outcomes.entry(receiver.to_owned()).or_default().extend(outcomes);
    }

    /// The times of the polls of a projection.
    pub(crate) fn polls_of(&self, projection: &str) -> Vec<f64> {
        self.state().polls.iter().filter(|(_, key)| key == projection).map(|(at, _)| *at).collect()
    }

    /// The documents that a receiver took, with their times.
    pub(crate) fn told(&self, receiver: &str) -> Vec<(f64, Document)> {
        let state = self.state();
        let mine = state.attempts.iter().filter(|attempt| attempt.ok && attempt.receiver == receiver);
        mine.map(|attempt| (attempt.at, attempt.document.clone())).collect()
    }

    pub(crate) fn attempts(&self, receiver: &str) -> Vec<Attempt> {
        self.state().attempts.iter().filter(|attempt| attempt.receiver == receiver).cloned().collect()
    }

    /// A setup with the default settings that watches `projections` and tells `receivers`.
    pub(crate) fn setup(&self, projections: &[&str], receivers: &[&str]) -> Setup {
        let projections = projections.iter().map(|text| text.parse::<Projection>().expect("a projection")).collect();
        let (source, availability) = (self.clone(), self.clone());
        let setup = Setup::new(Settings::watching(projections), move || source.clone(), move || availability.clone());
        receivers.iter().fold(setup, |setup, receiver| setup.receiver(self.receiver(receiver)))
    }

    /// Makes a receiver.
    pub(crate) fn receiver(&self, id: &str) -> impl Fn() -> FakeReceiver + Send + Sync + 'static + use<> {
        let (world, id) = (self.clone(), ReceiverId::new(id));
        move || FakeReceiver { world: world.clone(), id: id.clone() }
    }

    /// Starts a dispatcher whose clock is this world's.
    pub(crate) fn start(&self, setup: Setup, store: impl Store) -> Handle {
        self.dispatcher(setup, store).start().expect("started")
    }

    /// A dispatcher whose clock is this world's.
    pub(crate) fn dispatcher(&self, setup: Setup, store: impl Store) -> Dispatcher {
        Dispatcher::new(setup, store).clock(WorldClock(self.clone()))
    }

    /// How many polls are running.
    pub(crate) fn polling(&self) -> usize {
        self.state().polling.values().sum()
    }
}

impl State {
    pub(crate) fn seconds(&self) -> f64 {
        let millis = u32::try_from(self.start.now().mono.as_millis()).expect("a short test");
        f64::from(millis) / 1_000.0
    }
}

/// The clock of a world.
pub(crate) struct WorldClock(pub(crate) World);

impl ograph_dispatcher_actors::clock::Clock for WorldClock {
    fn now(&self) -> ograph_dispatcher_actors::clock::Now {
        self.0.state().start.now()
    }
}

/// A poll that is running, until it is dropped.
struct Polling(World, String);

impl Drop for Polling {
    fn drop(&mut self) {
        *self.0.state().polling.entry(self.1.clone()).or_default() -= 1;
    }
}

impl Source for World {
    fn observe<'a>(
        &'a self,
        projection: &'a Projection,
        known: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        Box::pin(async move {
            let key = projection.key.to_string();
            let polling = Polling(self.clone(), key.clone());
            let answer = {
                let mut state = self.state();
                let at = state.seconds();
                state.polls.push((at, key.clone()));
                let polling = state.polling.entry(key.clone()).or_default();
                *polling += 1;
                assert_eq!(*polling, 1, "{key} is polled twice at once");
                state.projections.get(&key).cloned().unwrap_or(Answer::Absent)
            };
            let wait = match &answer {
                Answer::SlowError(wait, _) => *wait,
                _ => Duration::ZERO,
            };
            actix_rt::time::sleep(wait).await;
            drop(polling);
            match answer {
                Answer::Value(value) => {
                    let etag = Some(value.to_string());
                    if known.etag == etag {
                        return Ok(Observation::Unchanged);
                    }
                    Ok(Observation::Present { value, validators: Validators { etag, body_hash: None } })
                }
                Answer::Absent => Ok(Observation::Absent),
                Answer::Error(error) | Answer::SlowError(_, error) => Err(error),
                Answer::Panic => panic!("the source of a test"),
            }
        })
    }
}

impl Availability for World {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        Box::pin(async move {
            let wait = {
                let mut state = self.state();
                let at = state.seconds();
                state.room_polls.push(at);
                state.room_delay
            };
            actix_rt::time::sleep(wait).await;
            self.state().room.clone()
        })
    }
}

pub(crate) struct FakeReceiver {
    world: World,
    id: ReceiverId,
}

impl Receiver for FakeReceiver {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn guarantee(&self) -> Guarantee {
        if self.id.as_str().starts_with("best-effort") { Guarantee::BestEffort } else { Guarantee::AtLeastOnce }
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(async move {
            let outcome = {
                let mut state = self.world.state();
                let outcome = state.outcomes.get_mut(self.id.as_str()).and_then(VecDeque::pop_front);
                let outcome = outcome.unwrap_or(Delivery::Ok);
                let attempt = Attempt {
                    at: state.seconds(),
                    receiver: self.id.to_string(),
                    document: document.clone(),
                    ok: matches!(outcome, Delivery::Ok | Delivery::Slow(_)),
                };
                state.attempts.push(attempt);
                outcome
            };
            match outcome {
                Delivery::Ok => Ok(Receipt { detail: "taken".to_owned() }),
                Delivery::Slow(wait) => {
                    actix_rt::time::sleep(wait).await;
                    Ok(Receipt { detail: "taken".to_owned() })
                }
                Delivery::Fail(kind, reached) => {
                    Err(DeliveryError { kind, reached, message: "as the test said".to_owned() })
                }
                Delivery::Panic => panic!("the receiver of a test"),
            }
        })
    }
}

/// A store that outlives the dispatchers that use it, as a disk does.
#[derive(Clone, Default)]
pub(crate) struct Disk(pub(crate) Arc<MemoryStore>);

impl Store for Disk {
    fn load(&self) -> Result<Saved, StoreError> {
        self.0.load()
    }

    fn observed(
        &self,
        keys: &[ProjectionKey],
    ) -> Result<Vec<Option<ograph_dispatcher_actors::store::Observed>>, StoreError> {
        self.0.observed(keys)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.0.commit(writes)
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<ograph_dispatcher_actors::store::Delivery>, StoreError> {
        self.0.deliveries(limit)
    }
}

/// Lets virtual time pass.
pub(crate) async fn seconds(seconds: f64) {
    actix_rt::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// The times, to a tenth of a second.
pub(crate) fn tenths(times: &[f64]) -> Vec<f64> {
    times.iter().map(|time| (time * 10.0).round() / 10.0).collect()
}
