//! JSON pointers (RFC 6901), validated when they are configured.

use std::{fmt, str::FromStr};

use serde_json::Value;

/// A valid JSON pointer; the empty one means the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(String);

/// A text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON pointer (RFC 6901): {0}")]
pub struct InvalidPointer(&'static str);

impl Pointer {
    /// The member it points to, if there is one.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.pointer(&self.0)
    }

    /// Takes the member it points to out of `value`, leaving the rest without it. The empty pointer leaves `null`;
    /// an array element leaves `null` in its place, so that the others keep their index.
    pub fn remove(&self, value: &mut Value) {
        let Some((parent, last)) = self.0.rsplit_once('/') else {
            *value = Value::Null;
            return;
        };
        match value.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.remove(&last.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(_)) => {
                if let Some(element) = value.pointer_mut(&self.0) {
                    *element = Value::Null;
                }
            }
            _ => {}
        }
    }

    /// The pointer as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(InvalidPointer("it must be empty or start with '/'"));
        }
        let escapes = text.split('~').skip(1);
        if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(InvalidPointer("'~' must be followed by 0 or 1"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::value::tests::any_json;

    fn pointer(text: &str) -> Pointer {
        text.parse().expect("a pointer")
    }

    #[test]
    fn only_rfc_6901_pointers_are_accepted() {
        for good in ["", "/", "/a", "/a/0/b", "/a~1b", "/m~0n", "/ "] {
            assert!(good.parse::<Pointer>().is_ok(), "{good:?}");
        }
        for bad in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn removing_takes_out_just_the_member() {
        let mut value = json!({"a": {"b/c": 1, "d": [1, 2]}, "e": 3});
        pointer("/a/b~1c").remove(&mut value);
        pointer("/a/d/0").remove(&mut value);
        pointer("/nowhere/to/be").remove(&mut value);
        pointer("/e/f").remove(&mut value);
        assert_eq!(value, json!({"a": {"d": [null, 2]}, "e": 3}));
        pointer("").remove(&mut value);
        assert_eq!(value, Value::Null);
    }

    #[test]
    fn escapes_are_undone_in_the_right_order() {
        let value = json!({"~1": 1, "/": 2, "~": 3, "": {"": 4}, "~01": 5});
        for (text, left_without) in [("/~01", "~1"), ("/~1", "/"), ("/~0", "~"), ("/~001", "~01"), ("/", "")] {
            let mut rest = value.clone();
            let target = pointer(text);
            assert_eq!(target.get(&value), value.get(left_without), "{text}");
            target.remove(&mut rest);
            let mut expected = value.clone();
            expected.as_object_mut().expect("an object").remove(left_without);
            assert_eq!(rest, expected, "{text}");
        }
        assert_eq!(pointer("//").get(&value), Some(&json!(4)));
    }

    #[test]
    fn what_is_not_there_is_not_removed() {
        let value = json!({"list": [1, 2], "text": "abc", "0": 1});
        for text in
            ["/list/2", "/list/-", "/list/01", "/list/+1", "/list/x", "/list/", "/text/0", "/0/0", "/none", "/none/0"]
        {
            let mut rest = value.clone();
            pointer(text).remove(&mut rest);
            assert_eq!((rest, pointer(text).get(&value)), (value.clone(), None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn removing_leaves_nothing_but_null(value in any_json(), text in "(/[a-c0-2~]{0,2}){0,3}") {
            if let Ok(pointer) = text.parse::<Pointer>() {
                let mut rest = value.clone();
                pointer.remove(&mut rest);
                prop_assert!(pointer.get(&rest).is_none_or(Value::is_null));
                prop_assert!(pointer.get(&value).is_some() || rest == value);
            }
        }
    }
}
