//! The text of a configuration file: its syntax tree, and lines and columns for messages.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use jsonc_parser::{
    CollectOptions, ParseOptions, ast,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use super::{Place, Problem};

/// JSON with comments and trailing commas, and no other liberties.
const SYNTAX: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// A file's name and text.
#[derive(Clone)]
pub(super) struct FileText<'a> {
    name: Arc<str>,
    text: &'a str,
    /// Where each line starts.
    lines: Arc<[usize]>,
}

impl<'a> FileText<'a> {
    /// Reads the bytes as UTF-8; a byte order mark is skipped.
    pub(super) fn new(name: &str, bytes: &'a [u8]) -> Result<Self, Problem> {
        let name = Arc::from(name);
        let (text, invalid) = match str::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => (str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), true),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = [0].into_iter().chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        let file = Self { name, text, lines };
        if invalid { Err(file.problem(file.text.len(), "", "is not valid UTF-8 from here on")) } else { Ok(file) }
    }

    /// The place of the byte at `offset`.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let before = self.text.get(self.lines[line - 1]..offset).unwrap_or_default();
        Place::At { file: self.name.clone(), line, column: before.chars().count() + 1 }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        Place::File { file: self.name.clone() }
    }

    fn problem(&self, offset: usize, path: &str, message: impl Into<String>) -> Problem {
        Problem { place: self.place(offset), path: path.to_owned(), message: message.into() }
    }

    /// The syntax tree.
    pub(super) fn parse(&self) -> Result<ast::Value<'a>, Problem> {
        match parse_to_ast(self.text, &CollectOptions::default(), &SYNTAX) {
            Ok(parsed) => parsed.value.ok_or_else(|| Problem {
                place: self.whole(),
                path: String::new(),
                message: "is empty; `ograph-dispatcher init --force` writes a commented start".to_owned(),
            }),
            Err(error) => Err(self.problem(error.range().start, "", syntax_error(&error))),
        }
    }

    /// Every key that an object has twice.
    pub(super) fn duplicates(&self, tree: &ast::Value<'a>) -> Vec<Problem> {
        let mut found = Vec::new();
        self.find_duplicates(tree, "", &mut found);
        found
    }

    fn find_duplicates(&self, value: &ast::Value<'a>, path: &str, found: &mut Vec<Problem>) {
        match value {
            ast::Value::Object(object) => {
                let mut seen: HashMap<&str, usize> = HashMap::new();
                for member in &object.properties {
                    let path = join(path, member.name.as_str());
                    match seen.entry(member.name.as_str()) {
                        Entry::Vacant(first) => {
                            first.insert(member.range.start);
                        }
                        Entry::Occupied(first) => {
                            let line = match self.place(*first.get()) {
                                Place::At { line, .. } => line,
                                _ => 1,
                            };
                            let message = format!("given twice; the first one is on line {line}");
                            found.push(self.problem(member.range.start, &path, message));
                        }
                    }
                    self.find_duplicates(&member.value, &path, found);
                }
            }
            ast::Value::Array(array) => {
                for (index, element) in array.elements.iter().enumerate() {
                    self.find_duplicates(element, &format!("{path}[{index}]"), found);
                }
            }
            _ => {}
        }
    }
}

/// The path of a member; unusual names are quoted and shortened, so that a message stays one readable line.
pub(super) fn join(parent: &str, key: &str) -> String {
    const LONGEST: usize = 40;
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-$".contains(c)) && !key.is_empty();
    let key = match key.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &key[..end]),
        None if plain => key.to_owned(),
        None => format!("{key:?}"),
    };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// The parser's message in the manner of ours, and without text from the file.
fn syntax_error(error: &ParseError) -> String {
    let text = match error.kind() {
        ParseErrorKind::String(_) => "a string that does not end, or an unknown escape in it".to_owned(),
        ParseErrorKind::ExpectedStringObjectProperty => "a key must stand in double quotes".to_owned(),
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken => {
            "unexpected word or sign; text must stand in double quotes".to_owned()
        }
        kind => kind.to_string(),
    };
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    format!("not valid JSON: {}{}", first.map(String::from).unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        let file = match FileText::new("f.json", bytes) {
            Ok(file) => file,
            Err(problem) => return problem.to_string(),
        };
        match file.parse() {
            Ok(tree) => file.duplicates(&tree).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn syntax_errors_name_line_and_column() {
        for (text, message) in [
            ("", "f.json: is empty; `ograph-dispatcher init --force` writes a commented start"),
            ("// nothing", "f.json: is empty; `ograph-dispatcher init --force` writes a commented start"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "f.json:2:9: not valid JSON: expected comma"),
            ("{\n  \"ä\": ,\n}", "f.json:2:8: not valid JSON: unexpected comma"),
            ("{\n  a: 1\n}", "f.json:2:3: not valid JSON: a key must stand in double quotes"),
            ("{\"a\": yes}", "f.json:1:7: not valid JSON: unexpected word or sign; text must stand in double quotes"),
            ("{\"a\": \"x", "f.json:1:7: not valid JSON: a string that does not end, or an unknown escape in it"),
            ("{\"a\": 0x10}", "f.json:1:7: not valid JSON: hexadecimal numbers are not allowed"),
            ("{\"a\": 1", "f.json:1:1: not valid JSON: unterminated object"),
            ("{} {}", "f.json:1:4: not valid JSON: text cannot contain more than one JSON value"),
        ] {
            assert_eq!(error(text.as_bytes()), message, "{text}");
        }
        assert_eq!(error(b"{\n \"\xff\"}"), "f.json:2:3: is not valid UTF-8 from here on");
    }

    #[test]
    fn comments_trailing_commas_crlf_and_a_byte_order_mark_are_fine() {
        assert_eq!(error("\u{feff}{ /* a */ \"a\": [1,],\r\n // b\r\n}".as_bytes()), "");
        assert_eq!(error("\u{feff}{\r\n\"a\" 1}".as_bytes()).split(": ").next(), Some("f.json:2:5"));
    }

    #[test]
    fn a_key_given_twice_is_found_at_any_depth() {
        assert_eq!(
            error(b"{\"a\": [{\"b\": 1,\n\"b\": 2}], \"c d\": 1,\n\n\"c d\": 2}"),
            "f.json:2:1: a[0].b: given twice; the first one is on line 1\n\
             f.json:4:1: \"c d\": given twice; the first one is on line 2"
        );
    }
}
