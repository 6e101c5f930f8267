//! RFC 6902 patches between two values.

use json_patch::Patch;
use serde_json::Value;

/// The patch that makes `new` of `old`.
#[must_use]
pub fn diff(old: &Value, new: &Value) -> Patch {
    json_patch::diff(old, new)
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
    fn a_patch_names_just_what_changed() {
        let patch = diff(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 1, "c": 3}}));
        assert_eq!(serde_json::to_value(patch).expect("JSON"), json!([{"op": "replace", "path": "/a/c", "value": 3}]));
    }
}
