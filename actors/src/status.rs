//! What is shown: snapshots that the actors publish.
//!
//! Whoever asks for the status reads these and never talks to an actor, so asking costs the actors nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde::Serialize;

use crate::{
    model::{document::Change, key::ProjectionKey, receiver::ReceiverId, schedule::Phase, time::Timestamp},
    pending::Ledger,
    store::Outcome,
};

/// The state of the whole dispatcher.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Every actor by name.
    pub actors: BTreeMap<&'static str, ActorStatus>,
    /// The watcher.
    pub watcher: Arc<WatcherStatus>,
    /// The scheduler.
    pub scheduler: Arc<SchedulerStatus>,
    /// The receivers, in the order of their ids.
    pub receivers: Vec<ReceiverStatus>,
    /// Why the store refuses, if it does.
    pub store_error: Option<String>,
}

/// One actor.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorStatus {
    /// Whether it runs, restarts or was given up.
    pub state: ActorState,
    /// How often it was restarted since the start.
    pub restarts: u64,
    /// Its last panic.
    pub last_panic: Option<PanicNote>,
}

/// Whether an actor runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ActorState {
    /// It runs.
    #[default]
    Running,
    /// It panicked and waits for its restart.
    Restarting,
    /// It panicked too often.
    GivenUp,
}

/// A panic, as it is shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PanicNote {
    /// When.
    pub at: Timestamp,
    /// Its message.
    pub message: String,
    /// `file:line:column`.
    pub location: Option<String>,
}

/// The watcher.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatcherStatus {
    /// The interval in force, in milliseconds.
    pub interval_ms: u64,
    /// How many projections are watched.
    pub projections: usize,
    /// When the last poll ended.
    pub last_poll_at: Option<Timestamp>,
    /// How long the last sweep took, in milliseconds: from its first poll until none was running.
    pub last_sweep_ms: Option<u64>,
    /// When the next poll is due.
    pub next_poll_at: Option<Timestamp>,
    /// How many polls have ended since the start.
    pub polls: u64,
    /// The projections that cannot be polled.
    pub failing: BTreeMap<ProjectionKey, Trouble>,
}

/// Something that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The class of the error.
    pub error: &'static str,
    /// The error in words.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// How many attempts failed.
    pub failures: u32,
}

/// The scheduler.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerStatus {
    /// The phase; `None` before the scheduler has started.
    pub state: Option<Phase>,
    /// Since when it is in this phase.
    pub since: Option<Timestamp>,
    /// Why nothing is sent now, or what is happening.
    pub reason: String,
    /// When the availability is polled next.
    pub next_poll_at: Option<Timestamp>,
    /// Free slots at the last poll; `None` if unknown.
    pub available: Option<u64>,
    /// How many are needed.
    pub min_available: u64,
    /// Since when there is room, or is none, or nothing is known.
    pub room_since: Option<Timestamp>,
    /// Whether there was enough room at the last poll.
    pub has_room: bool,
    /// The class of the error that keeps the availability unknown.
    pub error_kind: Option<&'static str>,
    /// Why the availability is unknown.
    pub error: Option<String>,
    /// Each receiver's part in it.
    #[serde(skip)]
    pub lanes: BTreeMap<ReceiverId, LaneStatus>,
}

/// A receiver as the scheduler sees it.
#[derive(Clone, Debug, Default)]
pub struct LaneStatus {
    /// Until when it is left alone after a push.
    pub cooling_until: Option<Timestamp>,
    /// When it is tried again after a failure.
    pub next_retry_at: Option<Timestamp>,
    /// Whether a push is under way.
    pub in_flight: bool,
    /// The last push that ended.
    pub last: Option<LastDelivery>,
    /// How many pushes failed since the last success.
    pub failures: u32,
    /// When the first of them ended.
    pub failing_since: Option<Timestamp>,
}

/// The last push to a receiver.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDelivery {
    /// When it ended.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// In words.
    pub detail: String,
}

/// One receiver.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// Its id.
    pub receiver: ReceiverId,
    /// How many projections it does not know the latest value of.
    pub pending: usize,
    /// When the oldest of their changes was observed.
    pub oldest_pending_at: Option<Timestamp>,
    /// The last push.
    pub last_delivery: Option<LastDelivery>,
    /// How many pushes failed since the last success.
    pub failures: u32,
    /// When the first of them ended.
    pub failing_since: Option<Timestamp>,
    /// Whether a push is under way.
    pub in_flight: bool,
    /// Until when it is left alone after a push.
    pub cooling_until: Option<Timestamp>,
    /// When it is tried again after a failure.
    pub next_retry_at: Option<Timestamp>,
}

/// What one receiver has still to be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingReceiver {
    /// Its id.
    pub receiver: ReceiverId,
    /// The changes as a push would put them now, ordered by `firstChangedAt`, then key.
    pub changes: Vec<Change>,
}

/// One watched projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectionStatus {
    /// Its key.
    pub projection: ProjectionKey,
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Whether it has a value, as far as is known.
    pub present: bool,
    /// When that value, or that there is none, was first observed; `None` if it was never observed.
    pub since: Option<Timestamp>,
    /// Why it cannot be polled, if it cannot.
    pub failing: Option<Trouble>,
}

/// Where the actors publish.
#[derive(Debug, Default)]
pub(crate) struct Board {
    actors: RwLock<BTreeMap<&'static str, ActorStatus>>,
    pub(crate) watcher: Published<WatcherStatus>,
    pub(crate) scheduler: Published<SchedulerStatus>,
    pub(crate) ledger: Published<Ledger>,
    pub(crate) store_error: Published<Option<String>>,
}

impl Board {
    pub(crate) fn update_actor(&self, actor: &'static str, update: impl FnOnce(&mut ActorStatus)) {
        update(self.actors.write().unwrap_or_else(PoisonError::into_inner).entry(actor).or_default());
    }

    pub(crate) fn status(&self) -> Status {
        let scheduler = self.scheduler.get();
        let receivers = self
            .ledger
            .get()
            .counts()
            .map(|(receiver, pending, oldest_pending_at)| {
                let lane = scheduler.lanes.get(receiver).cloned().unwrap_or_default();
                ReceiverStatus {
                    receiver: receiver.clone(),
                    pending,
                    oldest_pending_at,
                    last_delivery: lane.last,
                    failures: lane.failures,
                    failing_since: lane.failing_since,
                    in_flight: lane.in_flight,
                    cooling_until: lane.cooling_until,
                    next_retry_at: lane.next_retry_at,
                }
            })
            .collect();
        Status {
            actors: self.actors.read().unwrap_or_else(PoisonError::into_inner).clone(),
            watcher: self.watcher.get(),
            scheduler,
            receivers,
            store_error: (*self.store_error.get()).clone(),
        }
    }
}

/// A value that is replaced as a whole. Readers never wait for a writer's work.
#[derive(Debug, Default)]
pub(crate) struct Published<T>(RwLock<Arc<T>>);

impl<T> Published<T> {
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, value: impl Into<Arc<T>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value.into();
    }
}
