//! What survives the process: the [`Store`] trait and its records.
//!
//! One commit is one transaction: a new observed value, its ETag and the pending entries it makes become durable together
//! or not at all. Only after the commit may anybody believe them.

mod memory;
mod redb;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    model::{
        document::Reason,
        key::ProjectionKey,
        merge::{Entry, Lease},
        receiver::ReceiverId,
        time::Timestamp,
        value::{Digest, State},
    },
    source::Validators,
};

pub use memory::MemoryStore;
pub use redb::{Opened, RedbStore, SetAside};

/// The version of the records below. A store of a newer one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// How many delivery records are kept.
pub const DELIVERIES_KEPT: usize = 1_000;

/// Durable state. Calls block (they may wait for the disk): actors make them off their thread.
///
/// # Guarantees
/// - [`commit`](Self::commit) is atomic and durable when it returns `Ok`; after `Err` nothing of it is there.
/// - Reads see the last commit.
pub trait Store: Send + Sync + 'static {
    /// Everything that the actors hold in memory: all but the observed values.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self) -> Result<Saved, StoreError>;

    /// The observed values of `keys`, in their order; `None` for one that was never observed.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError>;

    /// Makes all `writes` durable, in order, in one transaction.
    ///
    /// # Errors
    /// If nothing could be written; the store is as it was before.
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// The last `limit` deliveries, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError>;
}

/// What a store holds when the process starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Every observed projection, without its value.
    pub observed: BTreeMap<ProjectionKey, ObservedHead>,
    /// Every receiver that has been served.
    pub receivers: BTreeMap<ReceiverId, SavedReceiver>,
    /// Whether pushing is paused.
    pub paused: bool,
}

/// What is stored of one receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedReceiver {
    /// Its record.
    pub record: ReceiverRecord,
    /// Its pending entries.
    pub entries: BTreeMap<ProjectionKey, Entry<State>>,
    /// The batch that was out, or that came back last.
    pub lease: Option<Lease<State>>,
}

/// What is remembered of a receiver besides its entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReceiverRecord {
    /// Nothing is pushed to it before.
    pub cooldown_until: Option<Timestamp>,
}

/// What was last observed of a projection, without the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedHead {
    /// The digest of its value; `None` if it has none.
    pub digest: Option<Digest>,
    /// What identifies the answer it was read from.
    pub validators: Validators,
    /// How the value was read ([`crate::model::key::Projection::view`]).
    pub view: String,
    /// When this value was first observed.
    pub since: Timestamp,
}

/// What was last observed of a projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// All but the value.
    pub head: ObservedHead,
    /// The value; its digest is the head's.
    pub state: State,
}

/// One line of the delivery log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// When the attempt ended.
    pub at: Timestamp,
    /// To whom.
    pub receiver: ReceiverId,
    /// Which batch.
    pub batch_id: Uuid,
    /// Why it was pushed.
    pub reason: Reason,
    /// How many changes it contained.
    pub changes: usize,
    /// What came of it.
    pub outcome: Outcome,
    /// The receiver's words, or the error's.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It failed and is tried again (at-least-once) or not (best effort).
    Failed,
    /// The receiver refuses this batch for good.
    Refused,
    /// There was nothing to deliver to.
    Skipped,
}

/// One change of the durable state.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A projection was observed.
    Observed(ProjectionKey, Observed),
    /// A projection is no longer of interest.
    ForgetObserved(ProjectionKey),
    /// A receiver's entry changed, or went.
    Entry(ReceiverId, ProjectionKey, Option<Entry<State>>),
    /// A receiver's lease changed, or went.
    Lease(ReceiverId, Option<Lease<State>>),
    /// A receiver's record changed.
    Receiver(ReceiverId, ReceiverRecord),
    /// A receiver is gone: its record, lease and entries with it.
    ForgetReceiver(ReceiverId),
    /// Pushing was paused or resumed.
    Paused(bool),
    /// A delivery ended; the oldest beyond [`DELIVERIES_KEPT`] go.
    Delivery(Delivery),
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{} is in use by another ograph-dispatcher; stop that one, or give this one its own state.dir", path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{} has format version {found}, this program knows up to {FORMAT_VERSION}; use the newer program, or another state.dir", path.display())]
    TooNew {
        /// The store's file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The disk or the permissions.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried, with the path.
        doing: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Its content makes no sense.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Anything else that the database reports.
    #[error("the store failed: {0}")]
    Database(String),
}

impl StoreError {
    /// The word for metrics and logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::TooNew { .. } => "too_new",
            Self::Io { .. } => "io",
            Self::Damaged(_) => "damaged",
            Self::Database(_) => "database",
        }
    }
}
