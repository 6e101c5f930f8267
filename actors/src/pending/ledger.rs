//! What each receiver has still to be told, kept in step with the store.
//!
//! Every operation reads what it needs, changes the ledger in memory and commits the difference in one transaction. It
//! works on a copy: only if the commit succeeded does the actor take the copy over.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    events::{Event, PendingEffect},
    failpoint::failpoint,
    messages::{Lease, Observed, Settle, Settlement},
    model::{
        document::{self, ChangeKind, Document, Envelope},
        key::{Projection, ProjectionKey},
        merge::{Effect, MergeMap},
        receiver::{Reached, ReceiverId},
        schedule::Demand,
        time::Timestamp,
        value::{Snapshot, State},
    },
    settings::FirstSeen,
    setup::Setup,
    status::PendingReceiver,
    store::{self, ObservedHead, ReceiverRecord, Saved, Store, StoreError, Write},
};

/// The merge maps of all receivers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    accounts: BTreeMap<ReceiverId, Account>,
    pub(crate) paused: bool,
}

#[derive(Clone, Debug, Default)]
struct Account {
    map: MergeMap<State>,
    record: ReceiverRecord,
}

impl Ledger {
    /// The ledger for `receivers`, as it was stored. Receivers that are no longer configured are forgotten, and so are
    /// projections that are no longer watched once nothing of them is pending.
    pub(crate) fn open(
        store: &dyn Store,
        receivers: &[ReceiverId],
        watched: &[Projection],
    ) -> Result<Self, StoreError> {
        let Saved { observed, receivers: mut saved, paused } = store.load()?;
        let mut ledger = Self { accounts: BTreeMap::new(), paused };
        for id in receivers {
            let saved = saved.remove(id).unwrap_or_default();
            let account = Account { map: MergeMap::restore(saved.entries, saved.lease), record: saved.record };
            ledger.accounts.insert(id.clone(), account);
        }
        let mut writes: Vec<_> = saved.into_keys().map(Write::ForgetReceiver).collect();
        for key in observed.into_keys() {
            let pending = ledger.accounts.values().any(|account| account.map.entries().contains_key(&key));
            if !pending && !watched.iter().any(|projection| projection.key == key) {
                writes.push(Write::ForgetObserved(key));
            }
        }
        if !writes.is_empty() {
            failpoint!("open.commit");
            store.commit(&writes)?;
            failpoint!("open.committed");
        }
        Ok(ledger)
    }

    /// What is pending for each receiver, as the scheduler needs to know it.
    pub(crate) fn demands(&self) -> BTreeMap<ReceiverId, Demand> {
        let demand = |map: &MergeMap<State>| Demand {
            waiting: map.waiting(),
            generation: map.generation(),
            repeats: map.repeats(),
        };
        self.accounts.iter().map(|(id, account)| (id.clone(), demand(&account.map))).collect()
    }

    /// How many projections each receiver does not know the latest value of, and since when the oldest of them waits.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&ReceiverId, usize, Option<Timestamp>)> {
        self.accounts.iter().map(|(id, account)| {
            let entries = account.map.entries();
            (id, entries.len(), entries.values().map(|entry| entry.change.first_changed_at).min())
        })
    }

    /// What each receiver has still to be told.
    pub(crate) fn pending(&self, setup: &Setup) -> Vec<PendingReceiver> {
        let pending = |(id, account): (&ReceiverId, &Account)| PendingReceiver {
            receiver: id.clone(),
            changes: document::changes(&account.map.content(), |key| setup.describe(key)),
        };
        self.accounts.iter().map(pending).collect()
    }

    /// The cooldowns that were running when this was stored.
    pub(crate) fn cooldowns(&self) -> BTreeMap<ReceiverId, Timestamp> {
        self.accounts
            .iter()
            .filter_map(|(id, account)| account.record.cooldown_until.map(|until| (id.clone(), until)))
            .collect()
    }

    /// Folds in what was observed. Values that are already stored change nothing, so a message may be handled twice.
    pub(crate) fn record(
        &mut self,
        store: &dyn Store,
        observations: &[Observed],
        first_seen: FirstSeen,
    ) -> Result<Vec<Event>, StoreError> {
        let keys: Vec<_> = observations.iter().map(|observed| observed.key.clone()).collect();
        let known = store.observed(&keys)?;
        let mut writes = Vec::new();
        let mut events = Vec::new();
        for (new, known) in observations.iter().zip(known) {
            let digest = new.state.as_ref().map(Snapshot::digest);
            let (old, baseline) = match &known {
                Some(known) if known.head.view != new.view => (&known.state, true),
                Some(known) if known.head.digest == digest => continue,
                Some(known) => (&known.state, false),
                None => (&None, first_seen == FirstSeen::Baseline),
            };
            let projection = new.key.clone();
            if baseline {
                events.push(Event::Baseline { projection });
            } else {
                let effect = self.fold(&new.key, old, &new.state, new.at, &mut writes);
                events.extend(effect.map(|effect| Event::Changed {
                    projection,
                    kind: ChangeKind::between(old, &new.state),
                    effect,
                }));
            }
            let head =
                ObservedHead { digest, validators: new.validators.clone(), view: new.view.clone(), since: new.at };
            writes.push(Write::Observed(new.key.clone(), store::Observed { head, state: new.state.clone() }));
        }
        if !writes.is_empty() {
            failpoint!("record.commit");
            store.commit(&writes)?;
            failpoint!("record.committed");
        }
        Ok(events)
    }

    fn fold(
        &mut self,
        key: &ProjectionKey,
        old: &State,
        new: &State,
        at: Timestamp,
        writes: &mut Vec<Write>,
    ) -> Option<PendingEffect> {
        let mut effects = Vec::new();
        for (id, account) in &mut self.accounts {
            let effect = account.map.observe(key, old, new, at);
            if effect != Effect::None {
                let entry = account.map.entries().get(key).cloned();
                writes.push(Write::Entry(id.clone(), key.clone(), entry));
                effects.push(effect);
            }
        }
        [(Effect::Added, PendingEffect::Added), (Effect::Merged, PendingEffect::Merged)]
            .into_iter()
            .find_map(|(seen, effect)| effects.contains(&seen).then_some(effect))
            .or_else(|| (!effects.is_empty()).then_some(PendingEffect::Cancelled))
    }

    /// Freezes what is pending for `receivers` and stores it before anybody sends it. Receivers with the same content
    /// get the same batch, unless one of them would be taken for a repetition of the other. A batch that is already out
    /// is handed out again.
    pub(crate) fn lease(
        &mut self,
        store: &dyn Store,
        wanted: &Lease,
        now: Timestamp,
        setup: &Setup,
    ) -> Result<BTreeMap<ReceiverId, Arc<Document>>, StoreError> {
        let Lease { receivers, cooling, recognised_by, reason, availability, cooldown } = wanted;
        let (reason, availability) = (*reason, *availability);
        let mut writes = Vec::new();
        let mut documents = BTreeMap::new();
        // With their content, and who will have seen them.
        let mut fresh: Vec<(Envelope, BTreeMap<_, _>, Vec<&String>)> = Vec::new();
        for id in receivers {
            let Some(account) = self.accounts.get_mut(id) else { continue };
            if account.map.in_flight().is_none() {
                if cooling.contains(id) && !account.map.repeats() {
                    continue;
                }
                let content = account.map.content();
                let recogniser = recognised_by.get(id);
                let same = fresh.iter_mut().find(|(_, other, seen_by)| {
                    *other == content && recogniser.is_none_or(|recogniser| !seen_by.contains(&recogniser))
                });
                let envelope = match &same {
                    Some((envelope, ..)) => envelope.clone(),
                    None => Envelope { batch_id: new_batch_id(now), created_at: now, reason, availability },
                };
                if account.map.lease(&envelope).is_none() {
                    continue;
                }
                match same {
                    Some((.., seen_by)) => seen_by.extend(recogniser),
                    None => fresh.push((envelope, content, recogniser.into_iter().collect())),
                }
                account.record.cooldown_until = Some(now + *cooldown);
                writes.push(Write::Lease(id.clone(), account.map.lease_state().cloned()));
                writes.push(Write::Receiver(id.clone(), account.record.clone()));
            }
            if let Some(batch) = account.map.in_flight() {
                let changes = batch.changes.iter().map(|(key, frozen)| (key, &frozen.change));
                let document = Document::new(&batch.envelope, changes, |key| setup.describe(key));
                documents.insert(id.clone(), Arc::new(document));
            }
        }
        if !writes.is_empty() {
            failpoint!("lease.commit");
            store.commit(&writes)?;
            failpoint!("lease.committed");
        }
        Ok(documents)
    }

    /// Takes over what came of a push. One that is not out (any more) changes nothing.
    pub(crate) fn settle(&mut self, store: &dyn Store, settle: &Settle, now: Timestamp) -> Result<(), StoreError> {
        let id = &settle.delivery.receiver;
        let batch_id = settle.delivery.batch_id;
        let Some(account) = self.accounts.get_mut(id) else { return Ok(()) };
        let Some(keys) = account
            .map
            .in_flight()
            .filter(|batch| batch.envelope.batch_id == batch_id)
            .map(|batch| batch.changes.keys().cloned().collect::<Vec<_>>())
        else {
            return Ok(());
        };
        match settle.settlement {
            Settlement::Ack => account.map.ack(batch_id),
            Settlement::Release(reached) => account.map.release(batch_id, reached),
        };
        account.record.cooldown_until = settle.cooldown.map(|cooldown| now + cooldown);
        let mut writes = account.writes(id, keys);
        writes.push(Write::Receiver(id.clone(), account.record.clone()));
        writes.push(Write::Delivery(settle.delivery.clone()));
        failpoint!("settle.commit");
        store.commit(&writes)?;
        failpoint!("settle.committed");
        Ok(())
    }

    /// Takes back every batch that is out: whoever sent it is gone, and nobody knows whether it arrived.
    pub(crate) fn reopen(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for (id, account) in &mut self.accounts {
            let Some(batch) = account.map.in_flight() else { continue };
            let keys: Vec<_> = batch.changes.keys().cloned().collect();
            account.map.release(batch.envelope.batch_id, Reached::Maybe);
            writes.extend(account.writes(id, keys));
        }
        if !writes.is_empty() {
            failpoint!("reopen.commit");
            store.commit(&writes)?;
            failpoint!("reopen.committed");
        }
        Ok(())
    }

    /// Stores whether pushing is paused.
    pub(crate) fn pause(&mut self, store: &dyn Store, paused: bool) -> Result<(), StoreError> {
        self.paused = paused;
        failpoint!("pause.commit");
        store.commit(&[Write::Paused(paused)])?;
        failpoint!("pause.committed");
        Ok(())
    }
}

impl Account {
    /// The lease and the entries of `keys` as they are now.
    fn writes(&self, id: &ReceiverId, keys: Vec<ProjectionKey>) -> Vec<Write> {
        let entry = |key: ProjectionKey| {
            let entry = self.map.entries().get(&key).cloned();
            Write::Entry(id.clone(), key, entry)
        };
        let lease = Write::Lease(id.clone(), self.map.lease_state().cloned());
        keys.into_iter().map(entry).chain([lease]).collect()
    }
}

/// A UUIDv7: ordered by time, and random enough to be unique without asking anybody.
fn new_batch_id(now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1_000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1_000, nanos))
}

#[cfg(test)]
mod tests;
