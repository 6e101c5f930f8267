//! Examples of what the merge map does; the laws behind them are in [`laws`].

use super::*;
use crate::model::document::{AvailabilityNote, Reason};

mod laws;

fn key(name: &str) -> ProjectionKey {
    ProjectionKey::new(name)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The envelope of the `n`th batch.
fn envelope(n: u128) -> Envelope {
    Envelope {
        batch_id: Uuid::from_u128(n),
        created_at: at(i64::try_from(n).expect("small")),
        reason: Reason::Available,
        availability: AvailabilityNote { available: Some(3), min_available: 2 },
    }
}

fn change<V>(from: V, to: V, merged: u64, first: i64, last: i64) -> MergedChange<V> {
    MergedChange { from, to, merged, first_changed_at: at(first), last_changed_at: at(last) }
}

/// A map that watches one projection, `k`, and numbers its batches.
struct Example {
    map: MergeMap<char>,
    value: char,
    batches: u128,
}

impl Example {
    fn starting_at(value: char) -> Self {
        Self { map: MergeMap::default(), value, batches: 0 }
    }

    fn observe(&mut self, value: char, millis: i64) -> Effect {
        let old = std::mem::replace(&mut self.value, value);
        self.map.observe(&key("k"), &old, &value, at(millis))
    }

    /// Leases, and answers with the batch's id and what it says of `k`.
    fn lease(&mut self) -> Option<(Uuid, MergedChange<char>)> {
        self.batches += 1;
        self.map
            .lease(&envelope(self.batches))
            .map(|batch| (batch.envelope.batch_id, batch.changes["k"].change.clone()))
    }

    fn pending(&self) -> Option<MergedChange<char>> {
        self.map.entries().get("k").map(|entry| entry.change.clone())
    }
}

#[test]
fn several_changes_are_told_as_one() {
    let mut example = Example::starting_at('A');
    assert_eq!(example.observe('B', 1), Effect::Added);
    assert_eq!(example.observe('C', 2), Effect::Merged);
    assert_eq!(example.observe('D', 3), Effect::Merged);
    assert_eq!(example.lease().expect("pending").1, change('A', 'D', 3, 1, 3));
}

#[test]
fn the_same_value_again_is_no_change() {
    let mut example = Example::starting_at('A');
    assert_eq!(example.observe('A', 1), Effect::None);
    assert_eq!(example.lease(), None);
    example.observe('B', 2);
    assert_eq!(example.observe('B', 3), Effect::None);
    assert_eq!(example.pending(), Some(change('A', 'B', 1, 2, 2)));
}

#[test]
fn a_change_that_is_undone_in_time_vanishes() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    assert_eq!(example.observe('A', 2), Effect::Cancelled);
    assert_eq!(example.lease(), None);
    example.observe('C', 3);
    assert_eq!(example.pending(), Some(change('A', 'C', 1, 3, 3)), "counted anew");
}

#[test]
fn what_was_acknowledged_is_not_pending_any_more() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    assert!(example.map.ack(id));
    assert_eq!((example.pending(), example.map.lease_state()), (None, None));
    example.observe('A', 2);
    assert_eq!(example.lease().expect("observed anew").1, change('B', 'A', 1, 2, 2));
}

#[test]
fn a_change_undone_in_flight_is_told_after_the_acknowledgement() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    assert_eq!(example.observe('A', 2), Effect::Merged);
    example.map.ack(id);
    assert_eq!(example.lease().expect("B was told").1, change('B', 'A', 1, 2, 2));
}

#[test]
fn a_change_undone_in_flight_vanishes_if_it_was_not_delivered() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.observe('A', 2);
    assert!(example.map.release(id, Reached::No));
    assert_eq!((example.pending(), example.lease()), (None, None));
}

#[test]
fn a_change_undone_in_flight_is_told_if_it_may_have_been_delivered() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (first, _) = example.lease().expect("pending");
    example.observe('A', 2);
    example.map.release(first, Reached::Maybe);
    let (second, told) = example.lease().expect("the receiver may believe B");
    assert_eq!(told, change('B', 'A', 2, 1, 2));
    assert_ne!(second, first);
    example.map.ack(second);
    assert_eq!(example.pending(), None);
}

#[test]
fn a_change_undone_after_a_doubtful_delivery_is_told() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.map.release(id, Reached::Maybe);
    assert_eq!(example.observe('A', 2), Effect::Merged);
    assert_eq!(example.lease().expect("the receiver may believe B").1, change('B', 'A', 2, 1, 2));
}

#[test]
fn doubt_outlives_a_delivery_of_the_known_value_that_is_in_doubt_itself() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.map.release(id, Reached::Maybe);
    example.observe('A', 2);
    let (id, told) = example.lease().expect("the receiver may believe B");
    example.map.release(id, Reached::Maybe);
    example.map.observe(&key("other"), &'x', &'y', at(3));
    assert_eq!(example.lease().expect("the receiver may still believe B").1, told);
}

#[test]
fn what_changes_in_flight_stays_pending_after_the_acknowledgement() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    example.observe('C', 2);
    let (id, told) = example.lease().expect("pending");
    assert_eq!(told, change('A', 'C', 2, 1, 2));
    assert_eq!(example.map.waiting(), 0);
    example.observe('D', 3);
    example.observe('E', 4);
    assert_eq!(example.map.waiting(), 1);
    assert_eq!(example.map.in_flight().expect("out").changes["k"].change, told, "a batch is frozen");
    example.map.ack(id);
    assert_eq!(example.lease().expect("pending").1, change('C', 'E', 2, 3, 4));
}

#[test]
fn what_changes_in_flight_is_folded_if_the_batch_comes_back() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.observe('C', 2);
    example.map.release(id, Reached::No);
    let (again, told) = example.lease().expect("pending");
    assert_eq!(told, change('A', 'C', 2, 1, 2));
    assert_ne!(again, id, "other content, other id");
}

#[test]
fn unchanged_content_keeps_its_envelope() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let first = example.map.lease(&envelope(1)).expect("pending").clone();
    for (n, reached) in [(2, Reached::No), (3, Reached::Maybe)] {
        example.map.release(first.envelope.batch_id, reached);
        assert_eq!(example.map.lease(&envelope(n)), Some(&first), "{reached:?}");
    }
}

#[test]
fn one_more_projection_makes_another_batch() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.map.release(id, Reached::No);
    example.map.observe(&key("other"), &'x', &'y', at(2));
    assert_ne!(example.lease().expect("pending").0, id);
}

#[test]
fn only_one_batch_is_out_at_a_time() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    example.lease().expect("pending");
    example.map.observe(&key("other"), &'x', &'y', at(2));
    assert_eq!(example.lease(), None);
}

#[test]
fn an_answer_for_a_batch_that_is_not_out_does_nothing() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    let before = example.map.clone();
    assert!(!example.map.ack(Uuid::from_u128(99)));
    assert!(!example.map.release(Uuid::from_u128(99), Reached::No));
    assert_eq!(example.map, before);
    example.map.release(id, Reached::Maybe);
    let before = example.map.clone();
    assert!(!example.map.ack(id), "late");
    assert!(!example.map.release(id, Reached::No), "twice");
    assert_eq!(example.map, before);
}

#[test]
fn a_batch_that_became_pointless_lends_its_id_to_no_other_content() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1);
    let (id, _) = example.lease().expect("pending");
    example.map.release(id, Reached::No);
    example.observe('A', 2);
    assert_eq!(example.lease(), None);
    // The entry is gone; only the lease remembers its generation.
    example.map = MergeMap::restore(BTreeMap::new(), example.map.lease_state().cloned());
    example.observe('C', 3);
    let (other, told) = example.lease().expect("pending");
    assert_eq!(told, change('A', 'C', 1, 3, 3));
    assert_ne!(other, id);
}

#[test]
fn a_clock_that_is_set_back_does_not_turn_the_times_around() {
    let mut example = Example::starting_at('A');
    example.observe('B', 1_000);
    let (id, _) = example.lease().expect("pending");
    example.observe('C', 10);
    assert_eq!(example.pending(), Some(change('A', 'C', 2, 1_000, 1_000)));
    example.observe('D', 20);
    example.map.ack(id);
    assert_eq!(example.pending(), Some(change('B', 'D', 2, 1_000, 1_000)));
}

mod stored {
    use serde_json::json;

    use super::*;
    use crate::model::value::{MAX_DEPTH, Snapshot, State, parse};

    fn state(json: &str) -> State {
        Some(Snapshot::new(parse(json.as_bytes()).expect(json), &[]))
    }

    #[test]
    fn a_map_is_read_back_without_loss() {
        let states = [
            None,
            state("null"),
            state("123456789012345678901234567890"),
            state(r#"{"price":1.10,"huge":1e400,"tiny":-1E-400,"zero":-0,"exact":0.1000000000000000055}"#),
            state(r#"{"":[],"a/~b":{"deep":[[[18446744073709551616]]]},"t":"\u0000 \ud83d\ude00"}"#),
        ];
        let mut map = MergeMap::<State>::default();
        for (i, old) in states.iter().enumerate() {
            for (j, new) in states.iter().enumerate() {
                map.observe(&key(&format!("p?from={i}&to={j}")), old, new, at(1));
            }
        }
        let id = map.lease(&envelope(1)).expect("pending").envelope.batch_id;
        map.observe(&key("p?from=0&to=1"), &states[1], &states[2], at(2));
        map.release(id, Reached::Maybe);
        map.lease(&envelope(2)).expect("pending");

        let entries = serde_json::to_string(map.entries()).expect("JSON");
        let lease = serde_json::to_string(&map.lease_state()).expect("JSON");
        let again = MergeMap::restore(
            serde_json::from_str(&entries).expect("entries"),
            serde_json::from_str(&lease).expect("a lease"),
        );
        // Snapshots are equal when their digests are, so the values are compared as text.
        assert_eq!(again, map);
        assert_eq!(serde_json::to_string(again.entries()).expect("JSON"), entries);
        assert_eq!(serde_json::to_string(&again.lease_state()).expect("JSON"), lease);
        // As they were read; serde_json only adds the sign of an exponent.
        for number in ["123456789012345678901234567890", "1.10", "1e+400", "-1e-400", ":-0", "[18446744073709551616]"] {
            assert!(entries.contains(number), "{number} in {entries}");
        }
    }

    #[test]
    fn the_deepest_value_is_read_back() {
        let nested = |inner| state(&format!("{}{inner}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)));
        let mut map = MergeMap::<State>::default();
        map.observe(&key("k"), &nested(1), &nested(2), at(1));
        map.lease(&envelope(1)).expect("pending");
        let text = serde_json::to_string(&map.lease_state()).expect("JSON");
        assert_eq!(serde_json::from_str::<Lease<State>>(&text).expect("a lease"), *map.lease_state().expect("a lease"));
    }

    #[test]
    fn an_entry_can_be_read_from_a_tree_of_json() {
        let mut map = MergeMap::<State>::default();
        map.observe(&key("k"), &None, &state("123456789012345678901234567890"), at(1));
        map.lease(&envelope(1)).expect("pending");
        let entry = serde_json::to_value(&map.entries()["k"]).expect("JSON");
        let lease = serde_json::to_value(map.lease_state()).expect("JSON");
        assert_eq!(serde_json::from_value::<Entry<State>>(entry).expect("an entry"), map.entries()["k"]);
        assert_eq!(serde_json::from_value::<Lease<State>>(lease).ok().as_ref(), map.lease_state());
    }

    #[test]
    fn told_that_there_is_no_value_is_not_told_nothing() {
        let mut map = MergeMap::<State>::default();
        map.observe(&key("k"), &state("1"), &None, at(1));
        let id = map.lease(&envelope(1)).expect("pending").envelope.batch_id;
        map.release(id, Reached::Maybe);
        let text = serde_json::to_string(map.entries()).expect("JSON");
        let mut again = MergeMap::restore(serde_json::from_str(&text).expect("entries"), None);
        again.observe(&key("k"), &None, &state("1"), at(2));
        let batch = again.lease(&envelope(2)).expect("the receiver may believe that there is none");
        assert_eq!(batch.changes["k"].change, change(None, state("1"), 2, 1, 2));
    }

    #[test]
    fn an_entry_is_stored_under_these_names() {
        let mut map = MergeMap::<Option<u8>>::default();
        map.observe(&key("k"), &Some(1), &None, at(1));
        let id = map.lease(&envelope(1)).expect("pending").envelope.batch_id;
        map.observe(&key("k"), &None, &Some(2), at(2));
        let change = |to: Option<u8>, merged: u64, last: &str| {
            json!({
                "from": 1, "to": to, "merged": merged,
                "firstChangedAt": "1970-01-01T00:00:00.001Z", "lastChangedAt": last,
            })
        };
        assert_eq!(
            serde_json::to_value(map.entries()).expect("JSON"),
            json!({"k": {
                "change": change(Some(2), 2, "1970-01-01T00:00:00.002Z"),
                "generation": 2,
                "movedOnAt": "1970-01-01T00:00:00.002Z",
            }})
        );
        assert_eq!(
            serde_json::to_value(map.lease_state()).expect("JSON"),
            json!({
                "batch": {
                    "envelope": {
                        "batchId": "00000000-0000-0000-0000-000000000001",
                        "createdAt": "1970-01-01T00:00:00.001Z",
                        "reason": "available",
                        "availability": {"available": 3, "minAvailable": 2},
                    },
                    "changes": {"k": {"change": change(None, 1, "1970-01-01T00:00:00.001Z"), "generation": 1}},
                },
                "inFlight": true,
            })
        );
        map.release(id, Reached::Maybe);
        assert_eq!(serde_json::to_value(&map.entries()["k"].doubt).expect("JSON"), json!({"value": null}));
    }
}
