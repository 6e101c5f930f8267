//! The rules by example, and what no answer may do.

use proptest::prelude::*;
use serde_json::json;

use super::{
    Free::{Room, Slots},
    *,
};

fn pointer(text: &str) -> Pointer {
    text.parse().expect("a pointer")
}

fn answer(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn the_first_rule_that_fits_counts() {
    for (text, free) in [
        // Rule 2, in its order.
        (r#"{"available": 3}"#, Slots(3)),
        (r#"{"availableSlots": 3}"#, Slots(3)),
        (r#"{"slots": {"available": 3}}"#, Slots(3)),
        (r#"{"capacity": {"available": 3}}"#, Slots(3)),
        (r#"{"capacity": {"available": 4}, "slots": {"available": 3}}"#, Slots(3)),
        (r#"{"slots": {"available": 4}, "availableSlots": 3}"#, Slots(3)),
        (r#"{"availableSlots": 4, "available": 3}"#, Slots(3)),
        (r#"{"available": 3, "max": 9, "active": 0, "idle": false}"#, Slots(3)),
        (r#"{"available": 0, "idle": true}"#, Slots(0)),
        // Rule 2 wants a number.
        (r#"{"available": "3", "availableSlots": 2}"#, Slots(2)),
        (r#"{"available": null, "max": 3, "active": 1}"#, Slots(2)),
        (r#"{"available": true, "max": 3, "active": 1}"#, Slots(2)),
        // Rule 3, every name.
        (r#"{"max": 5, "active": 2}"#, Slots(3)),
        (r#"{"maxConcurrent": 5, "busy": 2}"#, Slots(3)),
        (r#"{"total": 5, "running": 2}"#, Slots(3)),
        (r#"{"limit": 5, "inUse": 2}"#, Slots(3)),
        (
            r#"{"limit": 6, "total": 7, "maxConcurrent": 8, "max": 9, "inUse": 1, "running": 2, "busy": 3, "active": 4}"#,
            Slots(5),
        ),
        (r#"{"max": 2, "active": 5}"#, Slots(0)),
        (r#"{"slots": {"max": 5, "active": 2}}"#, Slots(3)),
        (r#"{"capacity": {"total": 5, "inUse": 2}}"#, Slots(3)),
        (r#"{"max": 9, "slots": {"max": 5, "active": 2}, "active": 8}"#, Slots(1)),
        // A maximum here and a use there are no pair.
        (r#"{"max": 9, "slots": {"active": 2}, "capacity": {"max": 4, "busy": 1}}"#, Slots(3)),
        // A boolean `busy` is no use, and a number is no boolean.
        (r#"{"max": 5, "busy": true, "running": 2}"#, Slots(3)),
        (r#"{"max": 5, "busy": false}"#, Room(true)),
        (r#"{"busy": 3, "status": "idle"}"#, Room(true)),
        // Rule 4, in its order.
        (r#"{"idle": true}"#, Room(true)),
        (r#"{"idle": false}"#, Room(false)),
        (r#"{"busy": true}"#, Room(false)),
        (r#"{"busy": false}"#, Room(true)),
        (r#"{"status": "idle"}"#, Room(true)),
        (r#"{"status": "busy"}"#, Room(false)),
        (r#"{"idle": false, "busy": false, "status": "idle"}"#, Room(false)),
        (r#"{"busy": true, "status": "idle"}"#, Room(false)),
        (r#"{"idle": "yes", "busy": null, "status": "busy"}"#, Room(false)),
        // A boolean `available` comes last.
        (r#"{"available": true}"#, Room(true)),
        (r#"{"available": false}"#, Room(false)),
        (r#"{"available": true, "status": "busy"}"#, Room(false)),
        (r#"{"available": true, "status": "starting"}"#, Room(true)),
    ] {
        assert_eq!(read(&answer(text), None), Ok(free), "{text}");
    }
}

#[test]
fn numbers_of_any_kind_are_slots() {
    for (number, slots) in [
        ("0", 0),
        ("-0", 0),
        ("-3", 0),
        ("-1e400", 0),
        ("1.0", 1),
        ("1.99", 1),
        ("0.99", 0),
        ("-0.5", 0),
        ("2e0", 2),
        ("35e-1", 3),
        ("1e-400", 0),
        ("9007199254740993", 9_007_199_254_740_993),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", u64::MAX),
        ("123456789012345678901234567890", u64::MAX),
        ("1e400", u64::MAX),
    ] {
        let text = format!("{{\"available\": {number}}}");
        assert_eq!(read(&answer(&text), None), Ok(Slots(slots)), "{text}");
        assert_eq!(read(&answer(number), Some(&pointer(""))), Ok(Slots(slots)), "{number}");
    }
    for (max, active, slots) in [
        ("4", "1.5", 2),
        ("4.5", "1", 3),
        ("4", "-2", 4),
        ("-2", "-4", 0),
        ("1e400", "1e400", 0),
        ("1e400", "0", u64::MAX),
        ("4", "1e400", 0),
    ] {
        let text = format!("{{\"max\": {max}, \"active\": {active}}}");
        assert_eq!(read(&answer(&text), None), Ok(Slots(slots)), "{text}");
    }
}

#[test]
fn the_pointer_alone_counts_if_there_is_one() {
    let status = json!({"lanes": [{"free": 2}], "ready": true, "name": "x", "a/b": 7, "available": 5, "nothing": null});
    for (text, free) in [("/lanes/0/free", Slots(2)), ("/ready", Room(true)), ("/a~1b", Slots(7))] {
        assert_eq!(read(&status, Some(&pointer(text))), Ok(free), "{text}");
    }
    for (text, leads_to) in [
        ("/lanes/1/free", "nothing"),
        ("/free", "nothing"),
        ("/nothing", "null"),
        ("/name", "a string"),
        ("/lanes", "an array"),
        ("/lanes/0", "an object"),
        ("", "an object"),
    ] {
        let error = read(&status, Some(&pointer(text))).expect_err(text).to_string();
        let start =
            format!("no free slots found: the pointer `{text}` leads to {leads_to}, not to a number or a boolean; ");
        assert!(error.starts_with(&start), "{error}");
    }
    assert_eq!(read(&json!(false), Some(&pointer(""))), Ok(Room(false)));
}

#[test]
fn what_no_rule_fits_is_not_understood() {
    for text in [
        "{}",
        "3",
        "true",
        "null",
        r#""idle""#,
        "[]",
        r#"[{"available": 3}]"#,
        r#"{"available": "3"}"#,
        r#"{"available": {"count": 3}}"#,
        r#"{"slots": [3]}"#,
        r#"{"slots": 3}"#,
        r#"{"capacity": "available"}"#,
        r#"{"max": 3}"#,
        r#"{"active": 3}"#,
        r#"{"busy": 3}"#,
        r#"{"idle": 1}"#,
        r#"{"status": "Idle"}"#,
        r#"{"status": "unknown"}"#,
        r#"{"status": true}"#,
        r#"{"": 3}"#,
        r#"{"data": {"available": 3}}"#,
        r#"{"slots/available": 3}"#,
    ] {
        assert!(read(&answer(text), None).is_err(), "{text}");
    }
}

#[test]
fn the_error_says_what_was_looked_for_and_what_was_there() {
    let error = |answer: &Value| read(answer, None).expect_err("not understood").to_string();
    assert_eq!(
        error(&json!({"uptime": 7, "ok": true})),
        "no free slots found: looked for available, availableSlots, slots.available, capacity.available, a maximum (max, \
         maxConcurrent, total, limit) with a use (active, busy, running, inUse), idle, busy and status, but the answer has \
         `ok`, `uptime`; configure a pointer to the number"
    );
    assert!(error(&json!({})).contains("but the answer is an empty object;"));
    assert!(error(&json!([1])).contains("but the answer is an array;"));
    assert!(error(&json!(3)).contains("but the answer is a number;"));
}

#[test]
fn a_hostile_answer_cannot_make_the_error_long_or_leave_its_line() {
    let members =
        (0..1_000).map(|i| (format!("{i:04}\r\n\u{1b}[2J\u{202e}\u{2028}`{}", "x".repeat(10_000)), json!("secret")));
    let answer = Value::Object(members.collect());
    let long = pointer(&format!("/\n\u{1b}{}", "y".repeat(10_000)));
    for error in [read(&answer, None), read(&answer, Some(&long))] {
        let error = error.expect_err("not understood").to_string();
        assert!(error.chars().count() < 1_500, "{}", error.chars().count());
        assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{error}");
        assert!(error.contains("and 992 more"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn room_without_a_number_is_enough_or_none() {
    assert!(Room(true).is_enough(7) && !Room(false).is_enough(0));
    assert_eq!((Room(true).slots(7), Room(false).slots(7)), (7, 0));
    assert!(Slots(2).is_enough(2) && !Slots(1).is_enough(2));
    assert_eq!(Slots(1).slots(2), 1);
}

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        (-5i64..20).prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?"
            .prop_map(|text| serde_json::from_str(&text).expect("a number")),
    ]
}

/// Answers made of the words that the rules know.
fn any_answer() -> impl Strategy<Value = Value> {
    let word = || {
        prop::sample::select(
            [&["available", "availableSlots", "slots", "capacity", "idle", "busy", "status"], &MAXIMUM[..], &USE[..]]
                .concat(),
        )
    };
    let leaf = prop_oneof![
        4 => any_number(),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => "idle|busy|.{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            5 => prop::collection::btree_map(word().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(answer in any_answer(), path in "(/[a-z0-9~]{0,3}){0,3}") {
        let _ = read(&answer, None);
        if let Ok(pointer) = path.parse::<Pointer>() {
            let _ = read(&answer, Some(&pointer));
        }
    }

    #[test]
    fn never_more_is_free_than_there_is(
        max in any_number(), used in any_number(), max_name in prop::sample::select(&MAXIMUM[..]), use_name in prop::sample::select(&USE[..]),
    ) {
        let mut answer = json!({});
        answer[max_name] = max.clone();
        answer[use_name] = used;
        let alone = read(&json!({"available": max}), None);
        let Ok(Slots(free)) = read(&answer, None) else { panic!("{answer} was not understood") };
        let Ok(Slots(all)) = alone else { panic!("{max} was not understood") };
        prop_assert!(free <= all);
    }

    #[test]
    fn small_numbers_are_subtracted(max in 0u64..1_000, used in 0u64..1_000) {
        prop_assert_eq!(read(&json!({"total": max, "inUse": used}), None), Ok(Slots(max.saturating_sub(used))));
    }
}
