//! RFC 6902 patches between two values.

use json_patch::{Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// More operations than these say less than the new value itself.
pub const MAX_OPERATIONS: usize = 1_000;

/// The patch that makes `new` of `old`: of at most [`MAX_OPERATIONS`], else it replaces the whole. (A megabyte of short
/// array elements that goes away would else become forty of `remove`.)
#[must_use]
pub fn diff(old: &Value, new: &Value) -> Patch {
    let patch = json_patch::diff(old, new);
    if patch.len() <= MAX_OPERATIONS {
        return patch;
    }
    Patch(vec![PatchOperation::Replace(ReplaceOperation { path: PointerBuf::new(), value: new.clone() })])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applying_the_patch_gives_the_new_value() {
        for (old, new) in [
            (json!(null), json!({"a": 1})),
            (json!({"a": 1, "b": [1, 2, 3]}), json!({"a": 2, "b": [1, 3], "c": null})),
            (json!({"a/b": {"~": 1}}), json!({"a/b": {"~": 2}})),
            (json!([1, 2, 3, 4]), json!([4])),
            (json!({"a": {}}), json!(17)),
        ] {
            let mut value = old.clone();
            json_patch::patch(&mut value, &diff(&old, &new)).expect("applies");
            assert_eq!(value, new, "from {old}");
        }
    }

    #[test]
    fn a_patch_of_too_many_operations_replaces_the_whole() {
        for (elements, operations) in [(MAX_OPERATIONS, MAX_OPERATIONS), (MAX_OPERATIONS + 1, 1)] {
            let (old, new) = (json!({"list": vec![1; elements]}), json!({"list": []}));
            let patch = diff(&old, &new);
            assert_eq!(patch.len(), operations);
            let mut value = old;
            json_patch::patch(&mut value, &patch).expect("applies");
            assert_eq!(value, new);
        }
    }

    #[test]
    fn a_patch_names_just_what_changed() {
        let patch = diff(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 1, "c": 3}}));
        assert_eq!(serde_json::to_value(patch).expect("JSON"), json!([{"op": "replace", "path": "/a/c", "value": 3}]));
    }
}
