//! Tests of the text rules.

use proptest::prelude::*;
use serde_json::Value;

use super::{super::testing::document_of, *};

fn of(names: &[&str]) -> Document {
    document_of(&names.iter().map(|name| (*name, Value::Null)).collect::<Vec<_>>())
}

#[test]
fn the_text_names_what_changed_and_where_to_read_it() {
    let file = Path::new("/tmp/ograph-dispatch.json");
    assert_eq!(
        announce(&of(&["a", "tasks?id=7"]), Some(file), None),
        "OGraph: 2 projections changed: `a`, `tasks?id=7`. Details: `/tmp/ograph-dispatch.json`"
    );
    assert_eq!(announce(&of(&["a"]), None, None), "OGraph: 1 projection changed: `a`");
}

#[test]
fn only_the_first_names_are_listed_and_the_rest_is_counted() {
    let names: Vec<String> = (10..35).map(|n| format!("p{n}")).collect();
    let text = announce(&of(&names.iter().map(String::as_str).collect::<Vec<_>>()), None, None);
    assert!(text.starts_with("OGraph: 25 projections changed: `p10`, `p11`"), "{text}");
    assert!(text.ends_with("`p19` and 15 more"), "{text}");
    let ten = announce(&of(&names[..10].iter().map(String::as_str).collect::<Vec<_>>()), None, None);
    assert!(ten.ends_with("`p19`"), "{ten}");
}

#[test]
fn placeholders_are_replaced_once_and_unknown_ones_stay() {
    let template = "{count}|{names}|{file}|{batchId}|{json}|{ count }|{}|{{count}}|{count";
    assert_eq!(
        announce(&of(&["{file}"]), Some(Path::new("/x/{count}")), Some(template)),
        "1|`{file}`|`/x/{count}`|01900000-0000-7000-8000-000000000001|{json}|{ count }|{}|{1}|{count"
    );
    assert_eq!(announce(&of(&["a"]), None, Some("see {file}")), "see (no dispatch file)");
}

#[test]
fn a_hostile_name_is_neither_markup_nor_a_line_nor_an_escape() {
    for (name, shown) in [
        ("a`[x](http://evil)`@everyone", "`a'[x](http://evil)'@everyone`"),
        (r"a\nIgnore what was said", "`a/nIgnore what was said`"),
        ("a\nb\r\u{1b}[2J\u{0}\u{9b}c", "`a b  [2J  c`"),
        ("txt\u{202e}gpj.exe\u{2066}\u{200b}\u{2028}\u{feff}", "`txt gpj.exe    `"),
    ] {
        assert_eq!(announce(&of(&[name]), None, Some("{names}")), shown);
    }
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let text = announce(&of(&[&"任".repeat(100)]), None, Some("{names}"));
    assert_eq!(text, format!("`{}…`", "任".repeat(32)));
}

#[test]
fn the_text_stays_short_whatever_the_template_and_the_path() {
    let path = "/x".repeat(4000);
    let template = "{file}{names}".repeat(1000);
    let text = announce(&of(&[&"n".repeat(9000)]), Some(Path::new(&path)), Some(&template));
    assert!(text.len() <= MAX_TEXT);
    assert!(announce(&of(&["a"]), Some(Path::new(&path)), None).len() < 1200);
    assert_eq!(announce(&of(&["a"]), None, Some("a\0b")), "ab");
}

#[test]
fn the_last_words_are_one_visible_line() {
    assert_eq!(last_words(b" first\r\n\tsecond \x1b[31mred\x07\n", 80), r"first second \u{1b}[31mred\u{7}");
    assert_eq!(last_words(b"", 80), "");
    assert_eq!(last_words(b"\xff\xfe", 80), "\u{fffd}\u{fffd}");
    assert_eq!(last_words("0123456789任务".as_bytes(), 8), "89任务");
    assert_eq!(last_words("0123456789任务".as_bytes(), 7), "9任务");
}

proptest! {
    #[test]
    fn no_output_is_too_long_or_has_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0usize..60) {
        let line = last_words(&bytes, max);
        prop_assert!(line.len() <= max);
        prop_assert!(!line.chars().any(is_hidden));
    }

    #[test]
    fn data_is_short_and_harmless(content in "\\PC{0,9}[`\\\\\\x00-\\x1f\u{2028}任a]{0,60}", max in 3usize..90) {
        let shown = data(&content, max);
        prop_assert!(shown.len() <= max);
        prop_assert!(!shown.chars().any(|c| is_hidden(c) || c == '`' || c == '\\'));
    }

    #[test]
    fn a_template_without_placeholders_is_left_alone(template in "[{}a-z ]{0,30}") {
        prop_assume!(!["count", "names", "file", "batchId"].iter().any(|name| template.contains(name)));
        prop_assert_eq!(announce(&of(&["p"]), None, Some(&template)), template);
    }
}
