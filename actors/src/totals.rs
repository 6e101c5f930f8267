//! What is counted since the start, for whoever exports metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    clock::Clock,
    events::{Event, PendingEffect},
    model::{document::ChangeKind, key::ProjectionKey, receiver::ReceiverId},
    store::{Delivery, Observed, Outcome, Saved, Store, StoreError, Write},
};

/// The upper bounds of the buckets of every [`Histogram`], in seconds; one more bucket holds the rest.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Everything that is counted. Only ever grows, until the process ends.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Polls of a projection, by what came of them: `unchanged`, `changed`, `absent`, or the class of the error.
    pub polls: BTreeMap<&'static str, u64>,
    /// How long sweeps took: from the first poll that starts until none is running.
    pub sweeps: Histogram,
    /// Polls of the availability: `ok`, or the class of the error.
    pub availability_polls: BTreeMap<&'static str, u64>,
    /// Changes of projections.
    pub changes: BTreeMap<ChangeKind, u64>,
    /// Changes that were folded into one that was pending already.
    pub merged: u64,
    /// Changes that took back what was pending.
    pub cancelled: u64,
    /// Pushes that ended.
    pub deliveries: BTreeMap<(ReceiverId, Outcome), u64>,
    /// Pushes of a batch that had been pushed before.
    pub retries: BTreeMap<ReceiverId, u64>,
    /// How long commits took that succeeded.
    pub commits: Histogram,
    /// Commits that failed, by the class of the error.
    pub commit_failures: BTreeMap<&'static str, u64>,
}

/// How many durations were how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// By bucket, not added up; the last is for what is above every bound of [`BUCKETS`].
    pub counts: [u64; BUCKETS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn record(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.counts[bucket] += 1;
        self.sum += duration;
    }
}

/// Where the actors count. Locked for as long as an addition or a copy takes.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Counting>);

#[derive(Debug, Default)]
struct Counting {
    totals: Totals,
    /// The last batch that was pushed to each receiver, to recognise a retry.
    last_batch: BTreeMap<ReceiverId, Uuid>,
}

impl Counters {
    fn lock(&self) -> MutexGuard<'_, Counting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// A poll of a projection ended.
    pub(crate) fn poll(&self, outcome: &'static str) {
        *self.lock().totals.polls.entry(outcome).or_default() += 1;
    }

    /// No poll is running any more.
    pub(crate) fn sweep(&self, took: Duration) {
        self.lock().totals.sweeps.record(took);
    }

    /// A poll of the availability ended.
    pub(crate) fn availability_poll(&self, outcome: &'static str) {
        *self.lock().totals.availability_polls.entry(outcome).or_default() += 1;
    }

    fn commit(&self, took: Duration, result: Result<(), &'static str>) {
        let totals = &mut self.lock().totals;
        match result {
            Ok(()) => totals.commits.record(took),
            Err(label) => *totals.commit_failures.entry(label).or_default() += 1,
        }
    }

    /// Counts what is an event anyway.
    pub(crate) fn event(&self, event: &Event) {
        let Counting { totals, last_batch } = &mut *self.lock();
        match event {
            Event::Changed { kind, effect, .. } => {
                *totals.changes.entry(*kind).or_default() += 1;
                totals.merged += u64::from(*effect == PendingEffect::Merged);
                totals.cancelled += u64::from(*effect == PendingEffect::Cancelled);
            }
            Event::Pushing { receiver, batch_id, .. } => {
                if last_batch.insert(receiver.clone(), *batch_id) == Some(*batch_id) {
                    *totals.retries.entry(receiver.clone()).or_default() += 1;
                }
            }
            Event::Pushed { receiver, outcome, .. } => {
                *totals.deliveries.entry((receiver.clone(), *outcome)).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// A store whose commits are timed.
pub(crate) struct TimedStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
}

impl Store for TimedStore {
    fn load(&self) -> Result<Saved, StoreError> {
        self.store.load()
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError> {
        self.store.observed(keys)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let start = self.clock.now().mono;
        let result = self.store.commit(writes);
        let took = self.clock.now().mono.saturating_sub(start);
        self.counters.commit(took, result.as_ref().map(|()| ()).map_err(StoreError::label));
        result
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.store.deliveries(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Reason;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [1, 2, 600, 31_000] {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!((histogram.count(), histogram.sum), (4, Duration::from_millis(31_603)));
    }

    #[test]
    fn a_batch_that_is_pushed_again_is_a_retry_and_another_one_is_none() {
        let counters = Counters::default();
        let receiver = ReceiverId::new("file");
        let push = |batch| {
            counters.event(&Event::Pushing {
                receiver: receiver.clone(),
                batch_id: Uuid::from_u128(batch),
                reason: Reason::Available,
                projections: Vec::new(),
            });
        };
        push(1);
        push(1);
        push(2);
        push(2);
        push(2);
        assert_eq!(counters.totals().retries[&receiver], 3);
    }
}
