//! The semantics of [`Store`], by example.

use super::{Harness, InFile, InMemory, samples::*};
use crate::{
    model::merge::Lease,
    store::{DELIVERIES_KEPT, ReceiverRecord, Saved, Write},
};

/// Makes a test of each function, for each store.
macro_rules! of_every_store {
    ($($name:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $name() { super::$name::<super::InMemory>(); })* }
        mod in_a_file { $(#[test] fn $name() { super::$name::<super::InFile>(); })* }
    };
}

of_every_store!(
    a_new_store_is_empty,
    what_was_committed_is_read_back_also_later,
    the_last_of_several_writes_of_a_record_counts,
    nothing_is_a_commit_too,
    observed_values_come_in_the_order_of_the_keys,
    a_value_that_is_null_is_not_a_projection_without_a_value,
    what_is_forgotten_is_gone,
    forgetting_a_receiver_takes_its_entries_and_lease_and_leaves_its_neighbours,
    a_receiver_forgotten_and_served_again_in_one_commit_starts_anew,
    a_receiver_is_known_by_any_of_its_records,
    deliveries_come_newest_first_and_the_oldest_go,
    more_deliveries_in_one_commit_than_are_kept_leave_the_last,
    keys_of_any_text_are_kept_apart,
    numbers_are_written_as_they_were_read,
    the_deepest_value_can_be_read_back_from_everywhere,
    a_told_absence_is_not_no_doubt,
    a_value_of_four_mebibytes_is_kept,
);

fn a_new_store_is_empty<H: Harness>() {
    let harness = H::new();
    assert_eq!(harness.store().load().unwrap(), Saved::default());
    assert_eq!(harness.store().observed(&[key("a")]).unwrap(), [None]);
    assert_eq!(harness.store().deliveries(10).unwrap(), []);
}

fn what_was_committed_is_read_back_also_later<H: Harness>() {
    let mut harness = H::new();
    harness.store().commit(&one_of_each("tasks?a=1")).unwrap();
    let before = dump(harness.store());
    let saved = harness.store().load().unwrap();
    assert!(saved.paused);
    assert_eq!(saved.observed[&key("tasks?a=1")], observed(r#"{"x":1.10}"#).head);
    let of_receiver = &saved.receivers[&receiver("tasks?a=1")];
    assert_eq!(of_receiver.record, record(5));
    assert_eq!(of_receiver.entries[&key("tasks?a=1")], entry("1", "2"));
    assert_eq!(of_receiver.lease, Some(lease(&[("tasks?a=1", "1", "2")])));
    assert_eq!(harness.store().deliveries(9).unwrap(), [delivery(9)]);
    for _ in 0..2 {
        harness.reopen();
        assert_eq!(dump(harness.store()), before);
    }
}

fn the_last_of_several_writes_of_a_record_counts<H: Harness>() {
    let mut harness = H::new();
    let writes = [
        Write::Paused(true),
        Write::Observed(key("a"), observed("1")),
        Write::Observed(key("a"), observed("2")),
        Write::Observed(key("b"), observed("1")),
        Write::ForgetObserved(key("b")),
        Write::ForgetObserved(key("c")),
        Write::Observed(key("c"), observed("3")),
        Write::Entry(receiver("r"), key("a"), Some(entry("1", "2"))),
        Write::Entry(receiver("r"), key("a"), None),
        Write::Entry(receiver("r"), key("b"), None),
        Write::Entry(receiver("r"), key("b"), Some(entry("3", "4"))),
        Write::Lease(receiver("r"), Some(lease(&[("a", "1", "2")]))),
        Write::Lease(receiver("r"), None),
        Write::Paused(false),
    ];
    harness.store().commit(&writes).unwrap();
    harness.reopen();
    let saved = harness.store().load().unwrap();
    assert!(!saved.paused);
    assert_eq!(saved.observed.keys().collect::<Vec<_>>(), [&key("a"), &key("c")]);
    assert_eq!(harness.store().observed(&[key("a")]).unwrap(), [Some(observed("2"))]);
    let of_receiver = &saved.receivers[&receiver("r")];
    assert_eq!(of_receiver.entries.keys().collect::<Vec<_>>(), [&key("b")]);
    assert_eq!(of_receiver.lease, None);
}

fn nothing_is_a_commit_too<H: Harness>() {
    let harness = H::new();
    harness.store().commit(&[]).unwrap();
    assert_eq!(harness.store().load().unwrap(), Saved::default());
}

fn observed_values_come_in_the_order_of_the_keys<H: Harness>() {
    let harness = H::new();
    let writes = ["a", "b", "c"].map(|name| Write::Observed(key(name), observed(&format!("\"{name}\""))));
    harness.store().commit(&writes).unwrap();
    let found = harness.store().observed(&["c", "x", "a", "c"].map(key)).unwrap();
    let expected = [Some(observed("\"c\"")), None, Some(observed("\"a\"")), Some(observed("\"c\""))];
    assert_eq!(found, expected);
    assert_eq!(harness.store().observed(&[]).unwrap(), []);
}

fn a_value_that_is_null_is_not_a_projection_without_a_value<H: Harness>() {
    let mut harness = H::new();
    let writes = [Write::Observed(key("null"), observed("null")), Write::Observed(key("none"), observed_state(None))];
    harness.store().commit(&writes).unwrap();
    harness.reopen();
    let found = harness.store().observed(&["null", "none"].map(key)).unwrap();
    assert_eq!(found, [Some(observed("null")), Some(observed_state(None))]);
    assert!(found[0].as_ref().unwrap().state.is_some());
}

fn what_is_forgotten_is_gone<H: Harness>() {
    let mut harness = H::new();
    harness.store().commit(&one_of_each("a")).unwrap();
    harness.store().commit(&one_of_each("b")).unwrap();
    harness.store().commit(&[Write::ForgetObserved(key("a")), Write::ForgetObserved(key("never"))]).unwrap();
    harness.reopen();
    assert_eq!(harness.store().observed(&["a", "b"].map(key)).unwrap()[0], None);
    assert_eq!(harness.store().load().unwrap().observed.keys().collect::<Vec<_>>(), [&key("b")]);
}

fn forgetting_a_receiver_takes_its_entries_and_lease_and_leaves_its_neighbours<H: Harness>() {
    let mut harness = H::new();
    for id in ["", "r", "r\0", "ra", "s"].map(receiver) {
        let of_receiver = ["", "a", "z"].map(|name| Write::Entry(id.clone(), key(name), Some(entry("1", "2"))));
        harness.store().commit(&of_receiver).unwrap();
        harness.store().commit(&[Write::Lease(id.clone(), Some(lease(&[("a", "1", "2")])))]).unwrap();
        harness.store().commit(&[Write::Receiver(id, record(1))]).unwrap();
    }
    let mut expected = harness.store().load().unwrap();
    expected.receivers.remove(&receiver("r"));
    harness.store().commit(&[Write::ForgetReceiver(receiver("r")), Write::ForgetReceiver(receiver("x"))]).unwrap();
    harness.reopen();
    assert_eq!(harness.store().load().unwrap(), expected);
    assert_eq!(expected.receivers.len(), 4);
}

fn a_receiver_forgotten_and_served_again_in_one_commit_starts_anew<H: Harness>() {
    let harness = H::new();
    harness.store().commit(&one_of_each("r")).unwrap();
    let writes = [
        Write::Entry(receiver("r"), key("late"), Some(entry("1", "2"))),
        Write::ForgetReceiver(receiver("r")),
        Write::Entry(receiver("r"), key("new"), Some(entry("3", "4"))),
    ];
    harness.store().commit(&writes).unwrap();
    let saved = harness.store().load().unwrap();
    let of_receiver = &saved.receivers[&receiver("r")];
    assert_eq!(of_receiver.entries.keys().collect::<Vec<_>>(), [&key("new")]);
    assert_eq!((&of_receiver.record, &of_receiver.lease), (&ReceiverRecord::default(), &None));
}

fn a_receiver_is_known_by_any_of_its_records<H: Harness>() {
    let harness = H::new();
    let known = |writes: &[Write]| {
        harness.store().commit(writes).unwrap();
        harness.store().load().unwrap().receivers.into_keys().map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let writes = [
        Write::Receiver(receiver("a"), ReceiverRecord::default()),
        Write::Lease(receiver("b"), Some(Lease { in_flight: false, ..lease(&[("a", "1", "2")]) })),
        Write::Entry(receiver("c"), key("a"), Some(entry("1", "2"))),
    ];
    assert_eq!(known(&writes), "a b c");
    assert_eq!(known(&[Write::Lease(receiver("b"), None), Write::Entry(receiver("c"), key("a"), None)]), "a");
}

fn deliveries_come_newest_first_and_the_oldest_go<H: Harness>() {
    let mut harness = H::new();
    let most: Vec<_> = (0..DELIVERIES_KEPT).map(|number| Write::Delivery(delivery(number))).collect();
    harness.store().commit(&most).unwrap();
    assert_eq!(harness.store().deliveries(usize::MAX).unwrap().len(), DELIVERIES_KEPT);
    for number in DELIVERIES_KEPT..DELIVERIES_KEPT + 3 {
        harness.store().commit(&[Write::Delivery(delivery(number))]).unwrap();
        harness.reopen();
    }
    let kept: Vec<_> = (3..DELIVERIES_KEPT + 3).rev().map(delivery).collect();
    assert_eq!(harness.store().deliveries(usize::MAX).unwrap(), kept);
    assert_eq!(harness.store().deliveries(2).unwrap(), kept[..2]);
    assert_eq!(harness.store().deliveries(0).unwrap(), []);
}

fn more_deliveries_in_one_commit_than_are_kept_leave_the_last<H: Harness>() {
    let harness = H::new();
    let many: Vec<_> = (0..DELIVERIES_KEPT + 5).map(|number| Write::Delivery(delivery(number))).collect();
    harness.store().commit(&many).unwrap();
    let kept: Vec<_> = (5..DELIVERIES_KEPT + 5).rev().map(delivery).collect();
    assert_eq!(harness.store().deliveries(usize::MAX).unwrap(), kept);
}

fn keys_of_any_text_are_kept_apart<H: Harness>() {
    let mut harness = H::new();
    let texts = ["", " ", "a", "a\0", "A", "任务?q=%00", "\u{10FFFF}", "a/b", &"long".repeat(2_000)];
    let mut expected = Saved::default();
    for text in texts {
        for other in texts {
            let entry = entry(&format!("{text:?}").replace("\\", "/"), "1");
            let write = Write::Entry(receiver(text), key(other), Some(entry.clone()));
            harness.store().commit(&[write]).unwrap();
            expected.receivers.entry(receiver(text)).or_default().entries.insert(key(other), entry);
        }
    }
    harness.reopen();
    assert_eq!(harness.store().load().unwrap(), expected);
}

fn numbers_are_written_as_they_were_read<H: Harness>() {
    let mut harness = H::new();
    // serde_json itself gives every exponent a sign when it reads it.
    let numbers =
        "[123456789012345678901234567890,-0,1.10,1e+400,1e-400,0.1000000000000000055511151231257827,9007199254740993]";
    let writes = [
        Write::Observed(key("a"), observed(numbers)),
        Write::Entry(receiver("r"), key("a"), Some(doubtful(numbers, numbers, state(numbers)))),
        Write::Entry(receiver("r"), key("b"), Some(entry("1e+400", "123456789012345678901234567890"))),
        Write::Lease(receiver("r"), Some(lease(&[("a", numbers, numbers), ("b", "1.10", "1e+400")]))),
    ];
    harness.store().commit(&writes).unwrap();
    harness.reopen();
    let text = |state: &_| serde_json::to_value(state).unwrap()["value"].to_string();
    let found = harness.store().observed(&[key("a")]).unwrap();
    assert_eq!(text(&found[0].as_ref().unwrap().state), numbers);
    let saved = harness.store().load().unwrap();
    let of_receiver = &saved.receivers[&receiver("r")];
    let entry = &of_receiver.entries[&key("a")];
    let batch = &of_receiver.lease.as_ref().unwrap().batch;
    let leased = &batch.changes[&key("a")].change;
    for state in [&entry.change.from, &entry.change.to, &entry.doubt.as_ref().unwrap().value, &leased.from, &leased.to]
    {
        assert_eq!(text(state), numbers);
    }
    assert_eq!((entry.change.merged, entry.generation), (u64::MAX, 7));
    assert_eq!(text(&of_receiver.entries[&key("b")].change.from), "1e+400");
    assert_eq!(text(&of_receiver.entries[&key("b")].change.to), "123456789012345678901234567890");
    assert_eq!(text(&batch.changes[&key("b")].change.from), "1.10");
}

fn the_deepest_value_can_be_read_back_from_everywhere<H: Harness>() {
    let mut harness = H::new();
    let (one, two) = (deepest("1.10"), deepest("{}").replacen("{\"a\":[{}]}", "{\"a\":[null]}", 1));
    let writes = [
        Write::Observed(key("a"), observed(&one)),
        Write::Entry(receiver("r"), key("a"), Some(doubtful(&one, &two, state(&one)))),
        Write::Lease(receiver("r"), Some(lease(&[("a", &one, &two)]))),
    ];
    harness.store().commit(&writes).unwrap();
    let before = dump(harness.store());
    harness.reopen();
    assert_eq!(dump(harness.store()), before);
}

fn a_told_absence_is_not_no_doubt<H: Harness>() {
    let mut harness = H::new();
    let entries = [doubtful("1", "2", None), entry("1", "2"), entry_between(None, state("null"))];
    for (name, entry) in ["a", "b", "c"].into_iter().zip(&entries) {
        harness.store().commit(&[Write::Entry(receiver("r"), key(name), Some(entry.clone()))]).unwrap();
    }
    harness.reopen();
    let saved = harness.store().load().unwrap();
    assert!(saved.receivers[&receiver("r")].entries.values().eq(&entries));
}

fn a_value_of_four_mebibytes_is_kept<H: Harness>() {
    let mut harness = H::new();
    let big = format!("\"{}\"", "x".repeat(4 << 20));
    harness.store().commit(&[Write::Observed(key("big"), observed(&big))]).unwrap();
    harness.store().commit(&[Write::Entry(receiver("r"), key("big"), Some(entry("1", &big)))]).unwrap();
    harness.reopen();
    assert_eq!(harness.store().observed(&[key("big")]).unwrap(), [Some(observed(&big))]);
    assert_eq!(harness.store().load().unwrap().receivers[&receiver("r")].entries[&key("big")], entry("1", &big));
}
