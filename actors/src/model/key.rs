//! Which projections there are: names, parameters and the key under which changes are merged.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    str::FromStr,
    sync::Arc,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::pointer::Pointer;

/// What the keys of a query must not contain literally.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// The identity of a watched projection, e.g. `task_assignee?task_id=7`.
///
/// Canonical: parameters sorted by name and percent-encoded, so that the same projection always has the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectionKey(Arc<str>);

impl ProjectionKey {
    /// The key with exactly this text (an alias, or one that was read back from the store).
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ProjectionKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A projection to watch, and how its value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Its identity: the canonical `name?param=value`, or the configured alias.
    pub key: ProjectionKey,
    /// Its name in OGraph; never empty.
    pub name: String,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Where in the answer the value stands; `None` for the rule of [`super::value::extract`].
    pub value_pointer: Option<Pointer>,
    /// Members of the value whose changes do not count. They are delivered all the same.
    pub ignore: Vec<Pointer>,
}

/// A text that names no projection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProjection {
    /// The part before `?` is empty.
    #[error("the projection's name is empty")]
    NoName,
    /// A `?` in the name: its key would be that of another projection with parameters.
    #[error("the projection's name contains `?`; give its parameters apart from it")]
    QuestionMark,
    /// A control character in the name.
    #[error("the projection's name contains a control character")]
    ControlCharacter,
    /// `.` and `..` would change the path that is asked for.
    #[error("`{0}` cannot be a projection's name")]
    PathSegment(String),
    /// A parameter without a name.
    #[error("a parameter without a name in `{}`", .0.escape_debug())]
    NoParameterName(String),
    /// A percent escape that is not UTF-8.
    #[error("`{}` is not UTF-8 once decoded", .0.escape_debug())]
    NotUtf8(String),
    /// The same parameter twice.
    #[error("the parameter `{}` is given twice", .0.escape_debug())]
    Twice(String),
}

impl Projection {
    /// A projection by name (white space around it does not count) and parameters, read by the usual rule.
    ///
    /// # Errors
    /// If the name is empty, contains `?` or control characters, or is `.` or `..`; if a parameter has no name.
    pub fn new(name: impl Into<String>, params: BTreeMap<String, String>) -> Result<Self, InvalidProjection> {
        let name = name.into().trim().to_owned();
        if name.is_empty() {
            return Err(InvalidProjection::NoName);
        }
        if name.contains('?') {
            return Err(InvalidProjection::QuestionMark);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidProjection::ControlCharacter);
        }
        if name == "." || name == ".." {
            return Err(InvalidProjection::PathSegment(name));
        }
        if params.contains_key("") {
            return Err(InvalidProjection::NoParameterName(name));
        }
        let mut key = name.clone();
        key.push_str(&query(&params));
        Ok(Self { key: ProjectionKey::new(key), name, params, value_pointer: None, ignore: Vec::new() })
    }

    /// The query string of its parameters, `?` included; empty without parameters.
    #[must_use]
    pub fn query(&self) -> String {
        query(&self.params)
    }

    /// Text that changes whenever the value is read in another way; values read differently are not comparable.
    /// The order of what is ignored makes no difference.
    #[must_use]
    pub fn view(&self) -> String {
        let mut view =
            self.value_pointer.as_ref().map_or_else(|| "auto".to_owned(), |p| format!("at {:?}", p.as_str()));
        for pointer in self.ignore.iter().collect::<BTreeSet<_>>() {
            // Quoted, since a pointer may contain white space and these very words.
            let _ = write!(view, " without {:?}", pointer.as_str());
        }
        view
    }
}

fn query(params: &BTreeMap<String, String>) -> String {
    let mut query = String::new();
    for (name, value) in params {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.extend(utf8_percent_encode(name, RESERVED));
        query.push('=');
        query.extend(utf8_percent_encode(value, RESERVED));
    }
    query
}

impl FromStr for Projection {
    type Err = InvalidProjection;

    /// Reads `name` or `name?param=value&…`. Parameters may be percent-encoded; `+` is a plus sign.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| InvalidProjection::NotUtf8(part.to_owned()))
        };
        let mut params = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (param, value) = pair.split_once('=').unwrap_or((pair, ""));
            if param.is_empty() {
                return Err(InvalidProjection::NoParameterName(text.to_owned()));
            }
            let param = decode(param)?;
            if params.insert(param.clone(), decode(value)?).is_some() {
                return Err(InvalidProjection::Twice(param));
            }
        }
        Self::new(name, params)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        text.parse::<Projection>().expect("a projection").key.to_string()
    }

    #[test]
    fn the_order_of_parameters_makes_no_difference() {
        assert_eq!(key("tasks?b=2&a=1"), "tasks?a=1&b=2");
        assert_eq!(key("tasks?a=1&b=2"), key(" tasks?b=2&a=1 "));
        assert_eq!(key("tasks?"), "tasks");
    }

    #[test]
    fn special_characters_are_escaped_once() {
        assert_eq!(key("tasks?q=a%20b%26c"), "tasks?q=a%20b%26c");
        assert_eq!(key("tasks?q=a b"), "tasks?q=a%20b");
        assert_eq!(key("tasks?q=任务"), "tasks?q=%E4%BB%BB%E5%8A%A1");
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, error) in [
            ("", "the projection's name is empty"),
            ("?a=1", "the projection's name is empty"),
            ("..", "`..` cannot be a projection's name"),
            ("a\tb", "the projection's name contains a control character"),
            ("tasks?=1", "a parameter without a name in `tasks?=1`"),
            ("tasks?a=1&a=2", "the parameter `a` is given twice"),
            ("tasks?a=%FF", "`%FF` is not UTF-8 once decoded"),
            ("tasks?%0A=1&%0a=2", "the parameter `\\n` is given twice"),
        ] {
            assert_eq!(text.parse::<Projection>().expect_err(text).to_string(), error);
        }
    }

    #[test]
    fn another_way_to_read_the_value_is_another_view() {
        let plain: Projection = "tasks".parse().expect("a projection");
        let mut other = plain.clone();
        other.value_pointer = Some(Pointer::default());
        assert_ne!(plain.view(), other.view());
        other.ignore.push("/updated_at".parse().expect("a pointer"));
        assert_eq!(other.view(), r#"at "" without "/updated_at""#);
    }

    #[test]
    fn only_another_way_to_read_the_value_is_another_view() {
        let view = |at: &str, ignore: &[&str]| {
            let mut projection: Projection = "tasks".parse().expect("a projection");
            projection.value_pointer = Some(at.parse().expect("a pointer"));
            projection.ignore = ignore.iter().map(|text| text.parse().expect("a pointer")).collect();
            projection.view()
        };
        assert_eq!(view("/v", &["/a", "/b", "/a"]), view("/v", &["/b", "/a"]));
        assert_ne!(view("/v without /a", &[]), view("/v", &["/a"]));
        assert_ne!(view("/v", &["/a", "/b"]), view("/v", &["/a without /b"]));
        assert_ne!(view(r#"/v" without "/a"#, &[]), view("/v", &["/a"]));
    }

    #[test]
    fn different_projections_have_different_keys() {
        let params = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let key = |name: &str, pairs: &[(&str, &str)]| Projection::new(name, params(pairs)).map(|p| p.key.to_string());
        assert_eq!(key("tasks?a=1", &[]), Err(InvalidProjection::QuestionMark));
        assert_eq!(key(" tasks\n", &[]), Ok("tasks".to_owned()));
        assert_ne!(key("tasks", &[("a", "1&b=2")]), key("tasks", &[("a", "1"), ("b", "2")]));
        assert_ne!(key("tasks", &[("a", "1=2")]), key("tasks", &[("a=1", "2")]));
        assert_ne!(key("tasks", &[("a", "%26")]), key("tasks", &[("a", "&")]));
        assert_ne!(key("tasks", &[("a", "+")]), key("tasks", &[("a", " ")]));
        assert_ne!(key("tasks", &[("a", "")]), key("tasks", &[]));
        assert_ne!(key("Tasks", &[]), key("tasks", &[]));
    }

    #[test]
    fn a_key_is_one_line_of_visible_ascii_in_its_parameters() {
        assert_eq!(key("tasks?a=%0D%0A%00%7F&%E2%80%AE=\u{85}."), "tasks?a=%0D%0A%00%7F&%E2%80%AE=%C2%85.");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            if let Ok(projection) = text.parse::<Projection>() {
                let again: Projection = projection.key.as_str().parse().expect("a projection");
                prop_assert_eq!(again, projection);
            }
        }

        #[test]
        fn a_key_parses_to_itself(
            name in "[a-z_]{1,9}|\\PC{1,9}",
            params in prop::collection::btree_map("(?s).{1,5}", "(?s).{0,5}", 0..4),
        ) {
            prop_assume!(!name.contains('?') && !["", ".", ".."].contains(&name.trim()));
            let projection = Projection::new(name, params).expect("a projection");
            let again: Projection = projection.key.as_str().parse().expect("a projection");
            prop_assert_eq!(again, projection);
        }
    }
}
