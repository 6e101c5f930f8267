//! Records to store.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    model::{
        document::{AvailabilityNote, Envelope, MergedChange, Reason},
        key::ProjectionKey,
        merge::{Batch, Entry, Frozen, Lease, Told},
        receiver::ReceiverId,
        time::Timestamp,
        value::{MAX_DEPTH, Snapshot, State, body_hash, parse},
    },
    source::Validators,
    store::{Delivery, Observed, ObservedHead, Outcome, ReceiverRecord, Store, Write},
};

pub(in crate::store) fn key(text: &str) -> ProjectionKey {
    ProjectionKey::new(text)
}

pub(in crate::store) fn receiver(text: &str) -> ReceiverId {
    ReceiverId::new(text)
}

pub(in crate::store) fn state(json: &str) -> State {
    Some(Snapshot::new(parse(json.as_bytes()).expect("JSON"), &[]))
}

/// As deep as a value may be.
pub(in crate::store) fn deepest(inner: &str) -> String {
    format!("{}{inner}{}", r#"{"a":["#.repeat(MAX_DEPTH / 2), "]}".repeat(MAX_DEPTH / 2))
}

pub(in crate::store) fn observed(json: &str) -> Observed {
    observed_state(state(json))
}

pub(in crate::store) fn observed_state(state: State) -> Observed {
    let head = ObservedHead {
        digest: state.as_ref().map(Snapshot::digest),
        validators: Validators { etag: Some("\"7\"".to_owned()), body_hash: Some(body_hash(b"body")) },
        view: "auto".to_owned(),
        since: Timestamp::from_millis(1_795_376_467_250),
    };
    Observed { head, state }
}

pub(in crate::store) fn change(from: State, to: State) -> MergedChange<State> {
    MergedChange {
        from,
        to,
        merged: u64::MAX,
        first_changed_at: Timestamp::EPOCH,
        last_changed_at: Timestamp::from_millis(1_795_376_467_250),
    }
}

pub(in crate::store) fn entry(from: &str, to: &str) -> Entry<State> {
    entry_between(state(from), state(to))
}

pub(in crate::store) fn entry_between(from: State, to: State) -> Entry<State> {
    Entry { change: change(from, to), generation: 7, doubt: None, moved_on_at: None }
}

pub(in crate::store) fn doubtful(from: &str, to: &str, doubt: State) -> Entry<State> {
    Entry { doubt: Some(Told { value: doubt }), moved_on_at: Some(Timestamp::EPOCH), ..entry(from, to) }
}

pub(in crate::store) fn lease(changes: &[(&str, &str, &str)]) -> Lease<State> {
    let frozen = |from, to| Frozen { change: change(state(from), state(to)), generation: 7 };
    let envelope = Envelope {
        batch_id: Uuid::from_u128(0x0192_f0c1_7b2a_7000_8000_0000_0000_0001),
        created_at: Timestamp::EPOCH,
        reason: Reason::Flush,
        availability: AvailabilityNote { available: None, min_available: 2 },
    };
    let changes: BTreeMap<_, _> = changes.iter().map(|(name, from, to)| (key(name), frozen(from, to))).collect();
    Lease { batch: Batch { envelope, changes }, in_flight: true }
}

pub(in crate::store) fn record(cooldown_until: i64) -> ReceiverRecord {
    ReceiverRecord { cooldown_until: Some(Timestamp::from_millis(cooldown_until)) }
}

/// A delivery that `number` tells from others.
pub(in crate::store) fn delivery(number: usize) -> Delivery {
    Delivery {
        at: Timestamp::from_millis(number as i64),
        receiver: receiver("dispatch-file"),
        batch_id: Uuid::nil(),
        reason: Reason::Available,
        changes: number,
        outcome: Outcome::Delivered,
        detail: "204 No Content".to_owned(),
        took_ms: 12,
    }
}

/// One of each kind of record, under keys that `name` is part of.
pub(in crate::store) fn one_of_each(name: &str) -> Vec<Write> {
    let (projection, to) = (key(name), receiver(name));
    vec![
        Write::Observed(projection.clone(), observed(r#"{"x":1.10}"#)),
        Write::Entry(to.clone(), projection, Some(entry("1", "2"))),
        Write::Lease(to.clone(), Some(lease(&[(name, "1", "2")]))),
        Write::Receiver(to, record(5)),
        Write::Paused(true),
        Write::Delivery(delivery(name.len())),
    ]
}

/// All that a store holds, as text: unlike equality of values, it shows how a number is written.
pub(in crate::store) fn dump(store: &dyn Store) -> String {
    let saved = store.load().expect("saved state");
    let keys: Vec<_> = saved.observed.keys().cloned().collect();
    let observed = store.observed(&keys).expect("observed values");
    let deliveries = store.deliveries(usize::MAX).expect("deliveries");
    format!("{saved:?}\n{observed:?}\n{deliveries:?}")
}
