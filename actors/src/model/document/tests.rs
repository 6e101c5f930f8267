//! The dispatch document as receivers see it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{
    key::Projection,
    value::{MAX_DEPTH, Snapshot, parse, tests::any_json},
};

fn state(json: &str) -> State {
    Some(Snapshot::new(parse(json.as_bytes()).expect(json), &[]))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn envelope(reason: Reason, available: Option<u64>) -> Envelope {
    Envelope {
        batch_id: Uuid::from_u128(0x0193_5556_1aa0_7000_8000_0000_0000_0001),
        created_at: at(1_795_376_467_250),
        reason,
        availability: AvailabilityNote { available, min_available: 2 },
    }
}

fn change(from: State, to: State, first: i64) -> MergedChange<State> {
    MergedChange { from, to, merged: 3, first_changed_at: at(first), last_changed_at: at(first + 1) }
}

fn document<'a>(changes: impl IntoIterator<Item = (&'a str, MergedChange<State>)>) -> Document {
    let changes: Vec<_> = changes.into_iter().map(|(key, change)| (ProjectionKey::new(key), change)).collect();
    Document::new(&envelope(Reason::Available, Some(3)), changes.iter().map(|(key, change)| (key, change)), |key| {
        let projection: Projection = key.as_str().parse().expect("a projection");
        (projection.name, projection.params)
    })
}

fn text(document: &Document) -> String {
    serde_json::to_string(document).expect("JSON")
}

#[test]
fn a_document_is_written_exactly_so() {
    let document = document([("task?id=7", change(state(r#"{"a":1}"#), state(r#"{"a":2}"#), 0))]);
    let expected = concat!(
        r#"{"version":1,"batchId":"01935556-1aa0-7000-8000-000000000001","createdAt":"2026-11-22T19:41:07.250Z","#,
        r#""reason":"available","availability":{"available":3,"minAvailable":2},"changes":[{"#,
        r#""projection":"task?id=7","name":"task","params":{"id":"7"},"kind":"changed","old":{"a":1},"new":{"a":2},"#,
        r#""patch":[{"op":"replace","path":"/a","value":2}],"merged":3,"#,
        r#""firstChangedAt":"1970-01-01T00:00:00.000Z","lastChangedAt":"1970-01-01T00:00:00.001Z"}]}"#
    );
    assert_eq!(text(&document), expected);
}

#[test]
fn a_flush_may_not_know_the_availability() {
    let document = Document::new(&envelope(Reason::Flush, None), [], |_| unreachable!("no changes"));
    let json = serde_json::to_value(&document).expect("JSON");
    assert_eq!(json["reason"], json!("flush"));
    assert_eq!(json["availability"], json!({"available": null, "minAvailable": 2}));
}

#[test]
fn changes_are_ordered_by_their_first_time_and_then_by_key() {
    let one = || change(state("1"), state("2"), 1);
    let changes = [("c", one()), ("d?x=1", change(state("1"), state("2"), 0)), ("a", one()), ("b", one())];
    let keys: Vec<_> = document(changes).changes.iter().map(|change| change.projection.to_string()).collect();
    assert_eq!(keys, ["d?x=1", "a", "b", "c"]);
}

#[test]
fn the_kind_tells_a_missing_value_from_null() {
    for (from, to, kind, old, new) in [
        (state("1"), state("2"), "changed", json!(1), json!(2)),
        (state("null"), state("2"), "changed", json!(null), json!(2)),
        (state("1"), state("null"), "changed", json!(1), json!(null)),
        (None, state("2"), "appeared", json!(null), json!(2)),
        (None, state("null"), "appeared", json!(null), json!(null)),
        (state("1"), None, "removed", json!(1), json!(null)),
        (state("null"), None, "removed", json!(null), json!(null)),
    ] {
        let json = serde_json::to_value(document([("k", change(from, to, 0))])).expect("JSON");
        let change = &json["changes"][0];
        assert_eq!((&change["kind"], &change["old"], &change["new"]), (&json!(kind), &old, &new));
        assert!(change.get("old").is_some() && change.get("new").is_some(), "null, not left out");
        let patch = if old == new { json!([]) } else { json!([{"op": "replace", "path": "", "value": new}]) };
        assert_eq!(change["patch"], patch);
    }
}

#[test]
fn numbers_are_delivered_as_they_were_read() {
    let old = r#"{"big":123456789012345678901234567890,"price":1.10,"same":18446744073709551616}"#;
    let new = r#"{"big":123456789012345678901234567891,"price":1.20,"same":18446744073709551616}"#;
    let text = text(&document([("k", change(state(old), state(new), 0))]));
    for part in [
        format!(r#""old":{old},"new":{new}"#).as_str(),
        r#"{"op":"replace","path":"/big","value":123456789012345678901234567891}"#,
        r#"{"op":"replace","path":"/price","value":1.20}"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Beyond what a float can hold; serde_json only adds the sign of the exponent.
    let text = self::text(&document([("k", change(None, state("1e400"), 0))]));
    assert!(text.contains(r#""new":1e+400,"patch":[{"op":"replace","path":"","value":1e+400}]"#), "{text}");
}

#[test]
fn the_deepest_value_fits_into_a_document() {
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    let text = text(&document([
        ("changed", change(state(&nested("1")), state(&nested("2")), 0)),
        ("appeared", change(None, state(&nested("1")), 0)),
    ]));
    serde_json::from_str::<Value>(&text).expect("JSON that serde_json itself can read");
}

#[test]
fn an_envelope_is_read_as_it_was_written() {
    for envelope in [envelope(Reason::Available, Some(u64::MAX)), envelope(Reason::Flush, None)] {
        let text = serde_json::to_string(&envelope).expect("JSON");
        assert_eq!(serde_json::from_str::<Envelope>(&text).expect("an envelope"), envelope);
    }
}

proptest! {
    #[test]
    fn the_patch_makes_the_new_value_of_the_old(old in any_json(), new in any_json()) {
        let snapshot = |value| Some(Snapshot::new(value, &[]));
        let text = text(&document([("k", change(snapshot(old), snapshot(new), 0))]));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let change = &document["changes"][0];
        let patch: json_patch::Patch = serde_json::from_str(&change["patch"].to_string()).expect("a patch");
        let mut value = change["old"].clone();
        json_patch::patch(&mut value, &patch).expect("applies");
        prop_assert_eq!(&value, &change["new"]);
    }
}
