//! Values of projections and their lossless comparison.
//!
//! Two values are the same if they are the same JSON: key order, white space and the way a number is written
//! (`1`, `1.0`, `10e-1`) make no difference, and numbers of any size are compared digit by digit.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::pointer::Pointer;

/// How deeply a value may be nested: below serde_json's own limit of 128, so that a value still fits into a document.
pub const MAX_DEPTH: usize = 100;

/// The name of the only member of the object that stands for a number inside serde_json.
const HIDDEN_NUMBER: &str = "$serde_json::private::Number";

/// A value and its digest. Equality is equality of digests.
#[derive(Clone, Serialize, Deserialize)]
pub struct Snapshot {
    value: Arc<Value>,
    digest: Digest,
}

/// What is known of a projection: a value, or that it has none.
pub type State = Option<Snapshot>;

/// A 128-bit digest: of a value's canonical form, or of a raw body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(u128);

/// Why a body is no value.
#[derive(Debug, thiserror::Error)]
pub enum InvalidValue {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Nested too deeply.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// A member with the name under which serde_json hides numbers. It would be written, sorted to the front, and then
    /// not be readable again: one such value must not make the store unreadable.
    #[error("a member is named `{HIDDEN_NUMBER}`")]
    ReservedName,
}

impl Snapshot {
    /// A snapshot of `value`; members under `ignore` are left out of the comparison.
    #[must_use]
    pub fn new(value: Value, ignore: &[Pointer]) -> Self {
        let digest = if ignore.is_empty() {
            Digest::of(&value)
        } else {
            let mut counted = value.clone();
            for pointer in ignore {
                pointer.remove(&mut counted);
            }
            Digest::of(&counted)
        };
        Self { value: Arc::new(value), digest }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Arc<Value> {
        &self.value
    }

    /// The digest of what counts of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Reads a body as JSON.
///
/// # Errors
/// If it is not one complete JSON text in UTF-8, nested too deeply, or not to be written and read again.
pub fn parse(body: &[u8]) -> Result<Value, InvalidValue> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let value = serde_json::from_slice(body)?;
    check(&value, MAX_DEPTH)?;
    Ok(value)
}

/// Checks names, and that `value` has at most `levels`.
fn check(value: &Value, levels: usize) -> Result<(), InvalidValue> {
    let below = || levels.checked_sub(1).ok_or(InvalidValue::TooDeep);
    match value {
        Value::Array(elements) => {
            let levels = below()?;
            elements.iter().try_for_each(|element| check(element, levels))
        }
        Value::Object(members) if members.contains_key(HIDDEN_NUMBER) => Err(InvalidValue::ReservedName),
        Value::Object(members) => {
            let levels = below()?;
            members.values().try_for_each(|member| check(member, levels))
        }
        _ => Ok(()),
    }
}

/// Takes the projection's value out of OGraph's answer: the member at `pointer` if there is one configured; else the
/// member `value` of an object that has one; else the whole answer. `None` if the pointer leads nowhere.
#[must_use]
pub fn extract(mut answer: Value, pointer: Option<&Pointer>) -> Option<Value> {
    match pointer {
        Some(pointer) if pointer.as_str().is_empty() => Some(answer),
        Some(pointer) => answer.pointer_mut(pointer.as_str()).map(Value::take),
        None => match answer.get_mut("value") {
            Some(value) => Some(value.take()),
            None => Some(answer),
        },
    }
}

/// The hash of a raw body, to recognise an unchanged one without parsing it.
#[must_use]
pub fn body_hash(body: &[u8]) -> Digest {
    Digest(xxh3_128(body))
}

impl Digest {
    /// The digest of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let mut hasher = Xxh3::new();
        feed(&mut hasher, value);
        Self(hasher.digest128())
    }
}

/// Feeds a value's canonical form. Every part is tagged and sized, so that no two values feed the same bytes.
fn feed(hasher: &mut Xxh3, value: &Value) {
    let text = |hasher: &mut Xxh3, tag: u8, text: &str| {
        hasher.update(&[tag]);
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(false) => hasher.update(b"f"),
        Value::Bool(true) => hasher.update(b"t"),
        Value::Number(number) => text(hasher, b'#', &canonical_number(&number.to_string())),
        Value::String(string) => text(hasher, b'"', string),
        Value::Array(elements) => {
            hasher.update(b"[");
            hasher.update(&(elements.len() as u64).to_le_bytes());
            for element in elements {
                feed(hasher, element);
            }
        }
        Value::Object(members) => {
            hasher.update(b"{");
            hasher.update(&(members.len() as u64).to_le_bytes());
            // Sorted here, because another crate of the build may turn on serde_json's `preserve_order`.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            for (key, member) in sorted {
                text(hasher, b'"', key);
                feed(hasher, member);
            }
        }
    }
}

/// Writes a JSON number as `[-]digits e exponent` without leading or trailing zeros; zero is `0`.
///
/// An exponent beyond what `i64` holds stays as it is written: such numbers are compared as text.
fn canonical_number(text: &str) -> String {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return "0".to_owned();
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let shift = i64::try_from(trailing).ok().zip(i64::try_from(fraction.len()).ok()).map(|(t, f)| t - f);
    let Some(exponent) = exponent.parse::<i64>().ok().zip(shift).and_then(|(e, s)| e.checked_add(s)) else {
        return text.to_owned();
    };
    let sign = if negative { "-" } else { "" };
    format!("{sign}{significant}e{exponent}")
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(&parse(text.as_bytes()).expect(text))
    }

    #[test]
    fn the_same_json_written_differently_is_the_same_value() {
        for (a, b) in [
            (r#"{"a":1,"b":[2,3]}"#, "{ \"b\" : [2, 3],\n \"a\" : 1 }"),
            ("1", "1.0"),
            ("100", "1e2"),
            ("1.5e3", "1500"),
            ("0", "-0.0"),
            ("0.001", "1E-3"),
            ("12300000000000000000000000000000000", "1.23e34"),
            (r#""é""#, r#""\u00e9""#),
        ] {
            assert_eq!(digest(a), digest(b), "{a} and {b}");
        }
    }

    #[test]
    fn different_json_is_a_different_value() {
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            ("0.1", "0.10000000000000000000000000000001"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("1e400", "1e401"),
            ("1e99999999999999999999", "2e99999999999999999999"),
            ("null", "{}"),
            ("[]", "{}"),
            ("[1,2]", "[2,1]"),
            (r#"["ab","c"]"#, r#"["a","bc"]"#),
            (r#"[["a"],"b"]"#, r#"[["a","b"]]"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
        ] {
            assert_ne!(digest(a), digest(b), "{a} and {b}");
        }
    }

    #[test]
    fn digests_stay_the_same_from_version_to_version() {
        // They are stored: if one of these changes, every projection looks changed after the upgrade.
        for (text, expected) in [
            ("null", "c311d21b3583875acbaa0f6724ae8b0a"),
            ("[]", "4ca345647d7831e5b25794992bd4307e"),
            (
                r#"{"b":[true,false,null,"x"],"a":{"n":-1.50e3,"big":123456789012345678901234567890,"zero":0.0}}"#,
                "e25782d393d4301b2cff374ff2f9a1e2",
            ),
        ] {
            assert_eq!(digest(text).to_string(), expected, "{text}");
        }
        assert_eq!(body_hash(b"{}").to_string(), "dc7048f8f8747f561349cde127705c16");
    }

    #[test]
    fn a_repeated_member_counts_once_and_the_last_one_wins() {
        assert_eq!(digest(r#"{"a":1,"a":2}"#), digest(r#"{"a":2}"#));
    }

    #[test]
    fn the_key_under_which_serde_json_hides_numbers_smuggles_nothing_in() {
        // An object with just this key is read as a number: odd, but only if it is one.
        let hidden = |text: &str| parse(format!(r#"{{"$serde_json::private::Number":{text}}}"#).as_bytes());
        assert_eq!(hidden(r#""1.5""#).expect("a number").to_string(), "1.5");
        for text in
            [r#""1,2""#, r#"" 1""#, r#""1 ""#, r#""NaN""#, r#""""#, r#""01""#, r#""\u0031]""#, "1", "null", "{}"]
        {
            assert!(hidden(text).is_err(), "{text}");
        }
        // As one of several members it can be read, but not a second time, once it was sorted to the front.
        for text in
            [r#"{"zz":1,"$serde_json::private::Number":"x"}"#, r#"[{"a":[{"z":1,"$serde_json::private::Number":2}]}]"#]
        {
            assert!(matches!(parse(text.as_bytes()), Err(InvalidValue::ReservedName)), "{text}");
        }
    }

    #[test]
    fn ignored_members_do_not_count_but_stay() {
        let ignore = ["/updated_at".parse().expect("a pointer")];
        let a = Snapshot::new(json!({"x": 1, "updated_at": 1}), &ignore);
        let b = Snapshot::new(json!({"x": 1, "updated_at": 2}), &ignore);
        assert_eq!(a, b);
        assert_eq!(b.value()["updated_at"], json!(2));
        assert_ne!(a, Snapshot::new(json!({"x": 2, "updated_at": 1}), &ignore));
    }

    #[test]
    fn the_value_is_taken_by_the_rule_or_the_pointer() {
        let pointer = |text: &str| text.parse::<Pointer>().expect("a pointer");
        let answer = json!({"name": "t", "value": {"x": [1, 2]}, "last_event_id": 9});
        assert_eq!(extract(answer.clone(), None), Some(json!({"x": [1, 2]})));
        assert_eq!(extract(json!({"value": null}), None), Some(Value::Null));
        assert_eq!(extract(json!({"x": 1}), None), Some(json!({"x": 1})));
        assert_eq!(extract(json!([1]), None), Some(json!([1])));
        assert_eq!(extract(answer.clone(), Some(&pointer(""))), Some(answer.clone()));
        assert_eq!(extract(answer.clone(), Some(&pointer("/value/x/1"))), Some(json!(2)));
        assert_eq!(extract(answer, Some(&pointer("/value/y"))), None);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in ["", "<html>", "{", "{\"a\":1} x", "[1,]", "NaN", "{\"a\":\"\u{0}\"}"] {
            assert!(parse(body.as_bytes()).is_err(), "{body:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(b"\xEF\xBB\xBF{}").is_ok(), "a byte order mark is tolerated");
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(parse(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn big_numbers_are_written_as_they_were_read() {
        let text = r#"{"id":123456789012345678901234567890,"x":1.10}"#;
        let value = parse(text.as_bytes()).expect("JSON");
        assert_eq!(value.to_string(), text);
    }

    /// Values in which a number is written in one way only.
    pub(in crate::model) fn any_json() -> impl Strategy<Value = Value> {
        let number = || "-?[1-9][0-9]{0,30}(\\.[0-9]{0,20}[1-9])?";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2i64..3).prop_map(Value::from),
            number().prop_map(|text| parse(text.as_bytes()).expect("a number")),
            "[a-c~/]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c~/]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn digests_are_equal_exactly_when_values_are(a in any_json(), b in any_json()) {
            prop_assert_eq!(Digest::of(&a) == Digest::of(&b), a == b);
        }

        #[test]
        fn numbers_are_the_same_exactly_when_their_values_are(
            a in (-30i64..30, 0usize..4, -4i32..5), b in (-30i64..30, 0usize..4, -4i32..5),
        ) {
            // The same number with `places` decimals, times ten to the `exponent`: as text, and as a multiple of 1e-8.
            let text = |(n, places, exponent): (i64, usize, i32)| {
                let sign = if n < 0 { "-" } else { "" };
                let digits = format!("{:0width$}", n.abs(), width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                let point = if places == 0 { "" } else { "." };
                format!("{sign}{whole}{point}{fraction}e{exponent:+}")
            };
            let exact = |(n, places, exponent): (i64, usize, i32)| n * 10i64.pow((8 + exponent - places as i32) as u32);
            prop_assert_eq!(digest(&text(a)) == digest(&text(b)), exact(a) == exact(b), "{} and {}", text(a), text(b));
        }

        #[test]
        fn no_body_makes_it_panic(
            body in prop_oneof!["[\\[\\]{}\",:0-9eE.+-]{0,20}".prop_map(String::into_bytes), any::<Vec<u8>>()],
        ) {
            if let Ok(value) = parse(&body) {
                let again = parse(value.to_string().as_bytes()).expect("what was read once");
                prop_assert_eq!(Digest::of(&again), Digest::of(&value));
            }
        }

        #[test]
        fn a_number_equals_itself_shifted(digits in "[1-9][0-9]{0,40}", shift in 0usize..30) {
            let shifted = format!("{digits}{}e-{shift}", "0".repeat(shift));
            prop_assert_eq!(canonical_number(&digits), canonical_number(&shifted));
        }

        #[test]
        fn a_snapshot_survives_the_store(value in any_json()) {
            let snapshot = Snapshot::new(value, &[]);
            let text = serde_json::to_string(&snapshot).expect("JSON");
            let again: Snapshot = serde_json::from_str(&text).expect("a snapshot");
            prop_assert_eq!(again.value(), snapshot.value());
            prop_assert_eq!(again.digest(), Digest::of(snapshot.value()));
        }
    }
}
