//! [`MemoryStore`]: a store that lasts as long as the process.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{DELIVERIES_KEPT, Delivery, Observed, ObservedHead, ReceiverRecord, Saved, Store, StoreError, Write};
use crate::model::{
    key::ProjectionKey,
    merge::{Entry, Lease},
    receiver::ReceiverId,
    value::State,
};

/// A store in memory, for tests and for embedders that need no durability.
///
/// It behaves like [`RedbStore`](super::RedbStore), but what it holds ends with it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    observed: BTreeMap<ProjectionKey, (ObservedHead, State)>,
    entries: BTreeMap<(ReceiverId, ProjectionKey), Entry<State>>,
    leases: BTreeMap<ReceiverId, Lease<State>>,
    receivers: BTreeMap<ReceiverId, ReceiverRecord>,
    /// Oldest first.
    deliveries: VecDeque<Delivery>,
    paused: bool,
    refusing: bool,
}

impl MemoryStore {
    /// Makes every following commit fail as a full disk does (`true`), or lets commits succeed again (`false`).
    ///
    /// Reads go on. For tests of what stands on a store.
    pub fn fail_commits(&self, refusing: bool) {
        self.content().refusing = refusing;
    }

    /// The content. Nothing that holds the lock panics halfway, so a poisoned one is as good as any.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Saved, StoreError> {
        let content = self.content();
        let mut saved = Saved { paused: content.paused, ..Saved::default() };
        saved.observed = content.observed.iter().map(|(key, (head, _))| (key.clone(), head.clone())).collect();
        for (id, record) in &content.receivers {
            saved.receivers.entry(id.clone()).or_default().record = record.clone();
        }
        for ((id, key), entry) in &content.entries {
            saved.receivers.entry(id.clone()).or_default().entries.insert(key.clone(), entry.clone());
        }
        for (id, lease) in &content.leases {
            saved.receivers.entry(id.clone()).or_default().lease = Some(lease.clone());
        }
        Ok(saved)
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError> {
        let content = self.content();
        let observed = |key| {
            let (head, state) = content.observed.get(key)?;
            Some(Observed { head: head.clone(), state: state.clone() })
        };
        Ok(keys.iter().map(observed).collect())
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut content = self.content();
        if content.refusing {
            let source = io::Error::new(io::ErrorKind::StorageFull, "commits are made to fail");
            return Err(StoreError::Io { doing: "writing to the store in memory".to_owned(), source });
        }
        for write in writes {
            content.apply(write.clone());
        }
        Ok(())
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        Ok(self.content().deliveries.iter().rev().take(limit).cloned().collect())
    }
}

impl Content {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Observed(key, observed) => {
                self.observed.insert(key, (observed.head, observed.state));
            }
            Write::ForgetObserved(key) => {
                self.observed.remove(&key);
            }
            Write::Entry(id, key, Some(entry)) => {
                self.entries.insert((id, key), entry);
            }
            Write::Entry(id, key, None) => {
                self.entries.remove(&(id, key));
            }
            Write::Lease(id, Some(lease)) => {
                self.leases.insert(id, lease);
            }
            Write::Lease(id, None) => {
                self.leases.remove(&id);
            }
            Write::Receiver(id, record) => {
                self.receivers.insert(id, record);
            }
            Write::ForgetReceiver(id) => {
                self.receivers.remove(&id);
                self.leases.remove(&id);
                self.entries.retain(|(of, _), _| *of != id);
            }
            Write::Paused(paused) => self.paused = paused,
            Write::Delivery(delivery) => {
                self.deliveries.push_back(delivery);
                let beyond = self.deliveries.len().saturating_sub(DELIVERIES_KEPT);
                self.deliveries.drain(..beyond);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::samples::{dump, one_of_each};

    #[test]
    fn commits_fail_on_demand_and_leave_nothing() {
        let store = MemoryStore::default();
        store.commit(&one_of_each("a")).unwrap();
        let before = dump(&store);
        store.fail_commits(true);
        for _ in 0..2 {
            assert_eq!(store.commit(&one_of_each("b")).unwrap_err().label(), "io");
            assert_eq!(dump(&store), before);
        }
        store.fail_commits(false);
        store.commit(&one_of_each("b")).unwrap();
        assert_ne!(dump(&store), before);
    }
}
