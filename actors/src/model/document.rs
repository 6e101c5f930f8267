//! The dispatch document: what every receiver of a push gets.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{key::ProjectionKey, patch, time::Timestamp, value::State};

/// Why a batch was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Enough slots were free.
    Available,
    /// Somebody asked for it by hand.
    Flush,
}

/// The free slots at the moment of the push, as the document shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityNote {
    /// Free slots; `None` if a flush went out while the availability was unknown.
    pub available: Option<u64>,
    /// How many had to be free.
    pub min_available: u64,
}

/// How a projection differs from what the receiver knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It had a value and has another one now.
    Changed,
    /// It had no value before.
    Appeared,
    /// It has no value any more.
    Removed,
}

impl ChangeKind {
    /// The kind of a change from `old` to `new`.
    #[must_use]
    pub fn between(old: &State, new: &State) -> Self {
        match (old, new) {
            (None, _) => Self::Appeared,
            (Some(_), None) => Self::Removed,
            (Some(_), Some(_)) => Self::Changed,
        }
    }
}

/// What a push says, before it is written for a receiver: the merged changes under one id.
///
/// Frozen when it is leased and stored before it is sent, so that a repeated delivery carries the same id and content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// A UUIDv7: the idempotency key of this content.
    pub batch_id: Uuid,
    /// When the batch was first leased.
    pub created_at: Timestamp,
    /// Why it was pushed.
    pub reason: Reason,
    /// The free slots at that moment.
    pub availability: AvailabilityNote,
}

/// One merged change, as a batch freezes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedChange<V> {
    /// What the receiver was last told, or the baseline.
    pub from: V,
    /// The latest value.
    pub to: V,
    /// How many distinct changes were folded into this one; at least 1.
    pub merged: u64,
    /// When the first of them was observed.
    pub first_changed_at: Timestamp,
    /// When the last of them was observed.
    pub last_changed_at: Timestamp,
}

/// The dispatch document (version 1).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// The version of this format.
    pub version: u32,
    /// Identity, time and reason of the push.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The changes, ordered by `firstChangedAt`, then key.
    pub changes: Vec<Change>,
}

/// One projection's change in the dispatch document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The key, e.g. `task_assignee?task_id=7`.
    pub projection: ProjectionKey,
    /// The projection's name.
    pub name: String,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What this receiver was last told; `null` if there was no value.
    pub old: Arc<Value>,
    /// The latest value; `null` if there is none any more.
    pub new: Arc<Value>,
    /// RFC 6902 patch from `old` to `new`.
    pub patch: json_patch::Patch,
    /// How many distinct changes were folded.
    pub merged: u64,
    /// When the first of them was observed.
    pub first_changed_at: Timestamp,
    /// When the last of them was observed.
    pub last_changed_at: Timestamp,
}

impl Document {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// Writes the document for a batch; `describe` gives a key's name and parameters.
    pub fn new<'a>(
        envelope: &Envelope,
        changes: impl IntoIterator<Item = (&'a ProjectionKey, &'a MergedChange<State>)>,
        describe: impl Fn(&ProjectionKey) -> (String, BTreeMap<String, String>),
    ) -> Self {
        Self { version: Self::VERSION, envelope: envelope.clone(), changes: self::changes(changes, describe) }
    }
}

/// The changes as a document lists them.
pub(crate) fn changes<'a>(
    changes: impl IntoIterator<Item = (&'a ProjectionKey, &'a MergedChange<State>)>,
    describe: impl Fn(&ProjectionKey) -> (String, BTreeMap<String, String>),
) -> Vec<Change> {
    let mut changes: Vec<Change> = changes
        .into_iter()
        .map(|(key, change)| {
            let (name, params) = describe(key);
            Change::new(key.clone(), name, params, change)
        })
        .collect();
    changes.sort_by(|a, b| (a.first_changed_at, &a.projection).cmp(&(b.first_changed_at, &b.projection)));
    changes
}

impl Change {
    fn new(
        projection: ProjectionKey,
        name: String,
        params: BTreeMap<String, String>,
        change: &MergedChange<State>,
    ) -> Self {
        let json = |state: &State| state.as_ref().map_or_else(|| Arc::new(Value::Null), |s| Arc::clone(s.value()));
        let (old, new) = (json(&change.from), json(&change.to));
        Self {
            projection,
            name,
            params,
            kind: ChangeKind::between(&change.from, &change.to),
            patch: patch::diff(&old, &new),
            old,
            new,
            merged: change.merged,
            first_changed_at: change.first_changed_at,
            last_changed_at: change.last_changed_at,
        }
    }
}

#[cfg(test)]
mod tests;
