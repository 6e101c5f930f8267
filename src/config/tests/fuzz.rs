//! No text whatsoever makes the decoder panic, and whatever it says can be shown.

use proptest::prelude::*;

use super::*;
use crate::config::{Place, Problem};

/// Loads the bytes and looks at everything that comes of it.
fn attack(bytes: &[u8]) {
    let (problems, ok) = match for_fixtures().load_bytes(Path::new("f.json"), bytes) {
        Ok(loaded) => {
            let _ = format!("{:?}", loaded.config);
            (loaded.warnings, true)
        }
        Err(LoadError::Invalid(problems)) => {
            assert!(!problems.errors.is_empty(), "refused without a reason");
            (problems.errors.into_iter().chain(problems.warnings).collect(), false)
        }
        Err(LoadError::FirstRun(_)) => panic!("there is a file"),
    };
    assert!(!ok || !bytes.is_empty());
    for problem in &problems {
        assert_presentable(problem, bytes);
    }
}

fn assert_presentable(problem: &Problem, bytes: &[u8]) {
    let text = problem.to_string();
    assert!(!text.contains(char::is_control), "{text:?} is not one line");
    assert!(text.len() < 1000, "{text} is too long");
    if let Place::At { line, column, .. } = problem.place {
        let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
        let length = lines.get(line - 1).unwrap_or_else(|| panic!("{text}: no such line")).len();
        assert!((1..=length + 1).contains(&column), "{text}: no such column");
    }
}

/// A piece of text that means something to a parser.
fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "//",
        "/*",
        "*/",
        "\n",
        "\r\n",
        "null",
        "true",
        "0",
        "-1",
        "1e999",
        "\"\"",
        "{}",
        "[]",
        "\"type\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\u{202e}",
        "ä",
        "\u{feff}",
        "\0",
        "<>",
        "~",
        "9223372036854775808",
        "\"http://\"",
        "\"off\"",
        "\"{\\\"env\\\"}\"",
    ])
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_in_order(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        attack(&bytes);
    }

    #[test]
    fn arbitrary_json_like_text_is_refused_in_order(tokens in prop::collection::vec(token(), 0..60)) {
        attack(tokens.concat().as_bytes());
    }

    #[test]
    fn a_mutated_file_is_read_or_refused_in_order(
        original in prop::sample::select(vec![EXAMPLE, EVERY_KEY, FIRST_GENERATION, LATER_GENERATION]),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..8, token()), 1..6),
    ) {
        let mut bytes = original.as_bytes().to_vec();
        for (at, removed, inserted) in mutations {
            let start = at.index(bytes.len());
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, inserted.bytes());
        }
        attack(&bytes);
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 511, 600, 100_000] {
            attack(format!("{}1{}", open.repeat(depth), close.repeat(depth)).as_bytes());
            attack(file(&format!("\"x\": {}1{}", open.repeat(depth), close.repeat(depth))).as_bytes());
        }
    }
}

#[test]
fn ten_thousand_unknown_keys_are_found_in_reasonable_time() {
    let members: Vec<_> = (0..10_000).map(|number| format!("\"key{number}\": {number}")).collect();
    let loaded = load(&file(&members.join(",\n")));
    assert_eq!(loaded.warnings.len(), 10_000);
}
