//! What happens, as typed events: for subscribers, an audit trail, or a story told line by line.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    model::{
        document::{ChangeKind, Reason},
        key::ProjectionKey,
        receiver::ReceiverId,
        schedule::Phase,
        time::Timestamp,
    },
    store::Outcome,
    totals::Counters,
};

/// How many events a subscriber may lag behind before it misses the oldest.
const BACKLOG: usize = 1_024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Strictly increasing within a process.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A projection was seen for the first time; its value is the baseline.
    Baseline {
        /// Which.
        projection: ProjectionKey,
    },
    /// A projection changed, and the change is durable.
    Changed {
        /// Which.
        projection: ProjectionKey,
        /// How.
        kind: ChangeKind,
        /// What that means for what is pending.
        effect: PendingEffect,
    },
    /// A projection could not be polled, for the first time or for a new reason.
    PollFailing {
        /// Which.
        projection: ProjectionKey,
        /// The class of the error.
        error: &'static str,
        /// The error in words.
        message: String,
    },
    /// A projection can be polled again.
    PollRecovered {
        /// Which.
        projection: ProjectionKey,
        /// How many polls had failed.
        failures: u32,
    },
    /// The scheduler is in another phase, or for another reason.
    Standing {
        /// The phase.
        phase: Phase,
        /// The reason in words.
        reason: String,
    },
    /// A push to a receiver began.
    Pushing {
        /// To whom.
        receiver: ReceiverId,
        /// Which batch.
        batch_id: Uuid,
        /// Why.
        reason: Reason,
        /// The projections in it.
        projections: Vec<ProjectionKey>,
    },
    /// A push to a receiver ended, and what came of it is durable.
    Pushed {
        /// To whom.
        receiver: ReceiverId,
        /// Which batch.
        batch_id: Uuid,
        /// What came of it.
        outcome: Outcome,
        /// The receiver's words, or the error's.
        detail: String,
    },
    /// The store refuses, for the first time or for a new reason.
    StoreFailing {
        /// The error in words.
        message: String,
    },
    /// The store works again.
    StoreRecovered,
    /// An actor panicked and is restarted.
    Restarted {
        /// Which.
        actor: &'static str,
        /// The panic's message and place.
        panic: String,
    },
    /// Pushing was paused or resumed.
    Paused {
        /// Whether it is paused now.
        paused: bool,
    },
    /// Another configuration is in force.
    Reloaded,
    /// Another configuration was refused: the one before stays in force.
    ReloadRefused {
        /// What is wrong with it.
        message: String,
    },
}

/// What a change means for what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PendingEffect {
    /// The projection became pending.
    Added,
    /// The change was folded into the pending one.
    Merged,
    /// The value is again what every receiver knows: nothing is pending.
    Cancelled,
}

/// Hands events to whoever listens. A slow listener loses the oldest events; it never holds anybody.
#[derive(Clone, Debug)]
pub(crate) struct EventBus {
    /// `None` when the dispatcher has ended.
    sender: Arc<RwLock<Option<broadcast::Sender<Arc<EventRecord>>>>>,
    last_id: Arc<AtomicU64>,
    counters: Arc<Counters>,
}

impl EventBus {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        let sender = Arc::new(RwLock::new(Some(broadcast::Sender::new(BACKLOG))));
        Self { sender, last_id: Arc::default(), counters }
    }

    pub(crate) fn emit(&self, at: Timestamp, event: Event) {
        self.counters.event(&event);
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(sender) = &*self.sender.read().unwrap_or_else(PoisonError::into_inner) {
            // An error only says that nobody listens.
            let _ = sender.send(Arc::new(EventRecord { id, at, event }));
        }
    }

    /// Ends every stream, once its listener has seen what happened before.
    pub(crate) fn close(&self) {
        *self.sender.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn stream(&self) -> impl Stream<Item = Arc<EventRecord>> + Send + Unpin + use<> {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let receiver = sender.as_ref().map(broadcast::Sender::subscribe);
        Box::pin(stream::unfold(receiver, |receiver| async move {
            let mut receiver = receiver?;
            loop {
                match receiver.recv().await {
                    Ok(record) => return Some((record, Some(receiver))),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        }))
    }
}
