//! Every typed message of the actor system.
//!
//! The first group is for everybody who has the supervisor's address; the second is what the actors tell each other,
//! always by way of the supervisor. All of them may be sent twice without harm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{Message, Recipient};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    events::EventRecord,
    model::{
        document::{AvailabilityNote, Document, Reason},
        key::ProjectionKey,
        receiver::{Reached, ReceiverId},
        schedule::Demand,
        time::Timestamp,
        value::State,
    },
    setup::{Setup, SetupError},
    source::Validators,
    status::{PendingReceiver, Status},
    store::{Delivery, ObservedHead, Outcome},
    supervision::{Panic, Verdict},
};

// ---- for everybody ----

/// Polls once, then pushes now, whatever availability and cooldown say.
#[derive(Clone, Copy, Debug, Default, Message)]
#[rtype(result = "Result<FlushReport, ControlError>")]
pub struct Flush {
    /// Keep the availability check: refuse with [`ControlError::Busy`] instead of pushing without room.
    pub when_available: bool,
}

/// What a flush did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlushReport {
    /// How many receivers got something.
    pub delivered: usize,
    /// One line per receiver that something was pending for.
    pub batches: Vec<FlushedBatch>,
}

impl FlushReport {
    pub(crate) fn add(&mut self, batch: FlushedBatch) {
        self.delivered += usize::from(batch.outcome == Outcome::Delivered);
        self.batches.push(batch);
    }
}

/// What a flush did for one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlushedBatch {
    /// The receiver.
    pub receiver: ReceiverId,
    /// The batch.
    pub batch_id: Uuid,
    /// How many changes it contained.
    pub changes: usize,
    /// What came of it.
    pub outcome: Outcome,
    /// In words.
    pub detail: String,
}

/// Polls every projection now; answers when all that was found is durable.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct PollNow;

/// Stops pushing; watching goes on. Survives a restart.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Pause;

/// Resumes pushing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Resume;

/// Answers when every actor has answered: shows a hung one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Ping;

/// Ends the dispatcher: deliveries under way may finish, nothing new begins. Answers when all is still.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// How long deliveries under way may take; what is left then is dropped and repeated after the next start.
    pub grace: Duration,
}

/// Puts another setup in force. What stays keeps its state and timers.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Reload(pub Setup);

/// Asks for the state of everything.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Status")]
pub struct GetStatus;

/// Asks what every receiver has still to be told.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<PendingReceiver>")]
pub struct GetPending;

/// Sends every event from now on to an actor, in order, the next when the one before was handled. A listener that lags
/// far behind loses the oldest. Ends when the actor or the dispatcher does.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Subscribe(pub Recipient<EventMessage>);

/// An event, as subscribed actors get it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct EventMessage(pub Arc<EventRecord>);

/// Why a control message was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no room, and the sender wanted to keep that check.
    #[error("{0}")]
    Busy(String),
    /// The store refuses.
    #[error("{0}")]
    Store(String),
    /// The new setup makes no sense; the one before stays in force.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The actor in question was restarted while it worked on this, or did not answer in time.
    #[error("the {0} did not answer")]
    NoAnswer(&'static str),
    /// The dispatcher has ended.
    #[error("the dispatcher has ended")]
    Ended,
}

// ---- between the actors ----

/// What the watcher observed: values that differ from the last ones. Answered once it is durable, with what is pending
/// since.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Demands, ControlError>")]
pub struct ProjectionChanged {
    /// One per projection, in the order in which they were observed.
    pub observations: Arc<[Observed]>,
}

/// A projection's new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Which.
    pub key: ProjectionKey,
    /// Its value, or that it has none any more.
    pub state: State,
    /// What identifies the answer it was read from.
    pub validators: Validators,
    /// How the value was read.
    pub view: String,
    /// When.
    pub at: Timestamp,
}

/// Asks what was last observed of every projection.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<BTreeMap<ProjectionKey, ObservedHead>, ControlError>")]
pub(crate) struct Recall;

/// The scheduler (re)starts: nothing is on its way any more. Asks for what is pending.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Reopened, ControlError>")]
pub(crate) struct Reopen;

/// What a scheduler needs to begin.
#[derive(Clone, Debug)]
pub(crate) struct Reopened {
    pub(crate) demands: Demands,
    pub(crate) cooldowns: BTreeMap<ReceiverId, Timestamp>,
    pub(crate) paused: bool,
}

/// What is pending for each receiver.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Grows with every answer, so that an older one that arrives late is recognised.
    pub(crate) revision: u64,
    pub(crate) by_receiver: BTreeMap<ReceiverId, Demand>,
}

/// Asks for the batches to push to these receivers. Durable when answered, so that a repeated delivery is recognised.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Leased, ControlError>")]
pub(crate) struct Lease {
    pub(crate) receivers: Vec<ReceiverId>,
    /// Those of them that get a repeat of their last batch or nothing: they are cooling down. What was decided may be
    /// overtaken by what was observed since.
    pub(crate) cooling: Vec<ReceiverId>,
    /// Who recognises their batches: see [`Receiver::recognised_by`](crate::receivers::Receiver::recognised_by).
    pub(crate) recognised_by: BTreeMap<ReceiverId, String>,
    pub(crate) reason: Reason,
    pub(crate) availability: AvailabilityNote,
    pub(crate) cooldown: Duration,
}

/// The batches to push.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) documents: BTreeMap<ReceiverId, Arc<Document>>,
    pub(crate) demands: Demands,
}

/// Reports what came of a push. Durable when answered.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Demands, ControlError>")]
pub(crate) struct Settle {
    pub(crate) settlement: Settlement,
    pub(crate) delivery: Delivery,
    /// How much longer the cooldown lasts; `None` if there is none.
    pub(crate) cooldown: Option<Duration>,
}

/// What a push means for the merge map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The receiver knows.
    Ack,
    /// It does not, or perhaps.
    Release(Reached),
}

/// Stores whether pushing is paused.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub(crate) struct SetPaused(pub(crate) bool);

/// Nudges the scheduler: other changes are pending than before.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DemandChanged(pub(crate) Demands);

/// Asks the supervisor what becomes of an actor that panicked.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Verdict")]
pub(crate) struct Panicked {
    pub(crate) actor: &'static str,
    pub(crate) panic: Panic,
}

/// Another setup is in force.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reconfigure;

/// Asks the scheduler to push now; see [`Flush`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<FlushReport, ControlError>")]
pub(crate) struct FlushNow {
    /// When it was asked for (monotonic): what has been pushed since belongs to its report.
    pub(crate) since: Duration,
    pub(crate) when_available: bool,
}

/// Asks the scheduler to begin no further push, and to answer when those under way have ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Ends an actor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;
