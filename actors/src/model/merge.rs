//! The merge map: what one receiver has still to be told.
//!
//! Nothing is queued. For every projection the map compares what the receiver was last told (`from`) with what was last
//! observed (`to`); whatever differs is pending. Merging, cancelled changes (A→B→A) and late receivers follow from that
//! comparison.
//!
//! # Laws
//! - Folding is associative: any grouping of observations gives the same entry, and `a→b, b→c` is `a→c`.
//! - What was acknowledged is not pending again unless it is observed anew.
//! - What was observed is never lost by any order of lease, observe, ack and release.
//! - The same unchanged content, leased again, keeps its batch id.
//!
//! # Doubt
//! A delivery that failed *after it was sent* may have arrived. Its entry is then in doubt: even if the value returns to
//! what was last acknowledged, the receiver is told, because it may believe the value of the failed delivery. So the
//! last value told is always the last one observed, whatever got lost on the way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    document::{Envelope, MergedChange},
    key::ProjectionKey,
    receiver::Reached,
    time::Timestamp,
};

/// Everything that one receiver has still to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeMap<V> {
    entries: BTreeMap<ProjectionKey, Entry<V>>,
    lease: Option<Lease<V>>,
    next_generation: u64,
}

/// One projection whose latest value the receiver does not know, or may not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<V> {
    /// The merged change. (Not flattened: serde's buffer has no room for numbers beyond 64 bits.)
    pub change: MergedChange<V>,
    /// Grows with every observation of the map, so that it names the content of this entry.
    pub generation: u64,
    /// The value of the last delivery that may have arrived without being acknowledged; never the same as `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Told<V>>,
    /// When the value changed first after it was leased; only while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_on_at: Option<Timestamp>,
}

/// A value that the receiver may have been told. (A type of its own, so that "told that there is none" and "told
/// nothing" are different in JSON.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told<V> {
    /// The value.
    pub value: V,
}

/// A batch that was handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease<V> {
    /// What was handed out.
    pub batch: Batch<V>,
    /// Whether it is out; otherwise it came back and is kept only for its id.
    pub in_flight: bool,
}

/// Merged changes, frozen under one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch<V> {
    /// Identity, time and reason.
    pub envelope: Envelope,
    /// The changes by key; never empty.
    pub changes: BTreeMap<ProjectionKey, Frozen<V>>,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen<V> {
    /// The change as it was when it was leased.
    pub change: MergedChange<V>,
    /// The generation of its entry at that moment.
    pub generation: u64,
}

/// What an observation did to the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the receiver's entry already had this value.
    None,
    /// The projection became pending.
    Added,
    /// The change was folded into the pending one.
    Merged,
    /// The value is again what the receiver knows: nothing is pending.
    Cancelled,
}

impl<V> Default for MergeMap<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), lease: None, next_generation: 1 }
    }
}

impl<V: Clone + PartialEq> MergeMap<V> {
    /// The map as it was stored. A lease that was in flight when the process ended may have been delivered: call
    /// [`release`](Self::release) with [`Reached::Maybe`] for it.
    #[must_use]
    pub fn restore(entries: BTreeMap<ProjectionKey, Entry<V>>, lease: Option<Lease<V>>) -> Self {
        let leased = lease.iter().flat_map(|lease| lease.batch.changes.values()).map(|frozen| frozen.generation);
        let newest = entries.values().map(|entry| entry.generation).chain(leased).max().unwrap_or(0);
        Self { entries, lease, next_generation: newest + 1 }
    }

    /// The entries by key: all that the receiver may not know, also what is in flight.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<ProjectionKey, Entry<V>> {
        &self.entries
    }

    /// The lease that is out or that came back last.
    #[must_use]
    pub fn lease_state(&self) -> Option<&Lease<V>> {
        self.lease.as_ref()
    }

    /// The batch that is out.
    #[must_use]
    pub fn in_flight(&self) -> Option<&Batch<V>> {
        self.lease.as_ref().filter(|lease| lease.in_flight).map(|lease| &lease.batch)
    }

    /// How many entries the batch in flight does not already tell as they are now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.entries.iter().filter(|(key, entry)| self.leased(key) != Some(entry.generation)).count()
    }

    /// Folds in that `key` was `old` and is `new` since `now`.
    pub fn observe(&mut self, key: &ProjectionKey, old: &V, new: &V, now: Timestamp) -> Effect {
        let leased = self.leased(key).is_some();
        let Some(entry) = self.entries.get_mut(key) else {
            if old == new {
                return Effect::None;
            }
            let change = MergedChange {
                from: old.clone(),
                to: new.clone(),
                merged: 1,
                first_changed_at: now,
                last_changed_at: now,
            };
            let generation = self.next_generation;
            self.entries.insert(key.clone(), Entry { change, generation, doubt: None, moved_on_at: None });
            self.next_generation += 1;
            return Effect::Added;
        };
        if entry.change.to == *new {
            return Effect::None;
        }
        // The wall clock may have been set back.
        let now = now.max(entry.change.last_changed_at);
        entry.change.to = new.clone();
        entry.change.merged += 1;
        entry.change.last_changed_at = now;
        entry.generation = self.next_generation;
        self.next_generation += 1;
        if leased {
            entry.moved_on_at.get_or_insert(now);
            Effect::Merged
        } else if entry.is_settled() {
            self.entries.remove(key);
            Effect::Cancelled
        } else {
            Effect::Merged
        }
    }

    /// Freezes everything pending under one id and hands it out; `None` if nothing is pending or a batch is already
    /// out. Content that came back unchanged keeps its envelope, else it gets `envelope`.
    pub fn lease(&mut self, envelope: &Envelope) -> Option<&Batch<V>> {
        if self.in_flight().is_some() || self.entries.is_empty() {
            return None;
        }
        let unchanged = self.lease.as_ref().is_some_and(|lease| {
            lease.batch.changes.len() == self.entries.len()
                && lease
                    .batch
                    .changes
                    .iter()
                    .zip(&self.entries)
                    .all(|((leased, frozen), (key, entry))| leased == key && frozen.generation == entry.generation)
        });
        match &mut self.lease {
            Some(lease) if unchanged => lease.in_flight = true,
            lease => {
                let changes = self.entries.iter().map(|(key, entry)| (key.clone(), entry.freeze())).collect();
                *lease = Some(Lease { batch: Batch { envelope: envelope.clone(), changes }, in_flight: true });
            }
        }
        self.in_flight()
    }

    /// The batch was delivered: its values are what the receiver knows. Entries that moved on meanwhile stay pending.
    /// `false` if this batch is not out.
    pub fn ack(&mut self, batch_id: Uuid) -> bool {
        let Some(batch) = self.take_in_flight(batch_id) else { return false };
        for (key, frozen) in &batch.changes {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.change.from = frozen.change.to.clone();
            entry.change.merged = entry.change.merged.saturating_sub(frozen.change.merged).max(1);
            entry.change.first_changed_at = entry.moved_on_at.take().unwrap_or(entry.change.last_changed_at);
            entry.doubt = None;
            if entry.is_settled() {
                self.entries.remove(key);
            }
        }
        true
    }

    /// The batch was not delivered, or perhaps it was. Everything in it is pending again, except what returned to the
    /// value that the receiver certainly knows. `false` if this batch is not out.
    pub fn release(&mut self, batch_id: Uuid, reached: Reached) -> bool {
        let Some(batch) = self.take_in_flight(batch_id) else { return false };
        for (key, frozen) in &batch.changes {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.moved_on_at = None;
            // A delivery of `from` itself adds no doubt, and takes none away.
            if reached == Reached::Maybe && frozen.change.to != entry.change.from {
                entry.doubt = Some(Told { value: frozen.change.to.clone() });
            }
            if entry.is_settled() {
                self.entries.remove(key);
            }
        }
        self.lease = Some(Lease { batch, in_flight: false });
        true
    }

    fn take_in_flight(&mut self, batch_id: Uuid) -> Option<Batch<V>> {
        self.in_flight().filter(|batch| batch.envelope.batch_id == batch_id)?;
        self.lease.take().map(|lease| lease.batch)
    }

    /// The generation under which `key` is in flight.
    fn leased(&self, key: &ProjectionKey) -> Option<u64> {
        self.in_flight().and_then(|batch| batch.changes.get(key)).map(|frozen| frozen.generation)
    }
}

impl<V: Clone + PartialEq> Entry<V> {
    /// Whether the receiver certainly knows the latest value.
    fn is_settled(&self) -> bool {
        self.change.to == self.change.from && self.doubt.is_none()
    }

    fn freeze(&self) -> Frozen<V> {
        let mut change = self.change.clone();
        if let Some(doubt) = &self.doubt
            && change.from == change.to
        {
            change.from = doubt.value.clone();
        }
        Frozen { change, generation: self.generation }
    }
}

#[cfg(test)]
mod tests;
