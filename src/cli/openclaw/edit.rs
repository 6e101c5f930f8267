//! What `openclaw.json` needs for the plugin, and adding it without touching anything else in the text.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde_json::{Value, json};

use super::plugin::ID;

/// JSON5, as OpenClaw reads it.
const SYNTAX: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: true,
    allow_hexadecimal_numbers: true,
    allow_unary_plus_numbers: true,
    allow_bare_decimal_point_numbers: true,
    allow_non_finite_numbers: true,
    allow_extended_string_escapes: true,
};

/// What has to be in the file for a plugin in this folder.
pub(super) fn part(folder: &str) -> Value {
    json!({"plugins": {"load": {"paths": [folder]}, "entries": {ID: {"enabled": true}}}})
}

/// The text as a value.
///
/// # Errors
/// Why it cannot be read; nothing of the text, which holds secrets, but its place.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = CstRootNode::parse(text, &SYNTAX).map_err(|error| cannot_be_read(&error))?;
    Ok(tree.to_serde_value().unwrap_or_default())
}

/// The text with the plugin added; `None` if nothing is missing.
///
/// # Errors
/// Why it cannot be edited.
pub(super) fn add(text: &str, folder: &str) -> Result<Option<String>, String> {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let tree = CstRootNode::parse(body, &SYNTAX).map_err(|error| cannot_be_read(&error))?;
    let root = tree.object_value().ok_or("is not an object")?;
    let plugins = object(&root, "plugins", "plugins")?;
    let load = object(&plugins, "load", "plugins.load")?;
    is_single(&load, "paths", "plugins.load.paths")?;
    let paths = load.array_value_or_create("paths").ok_or("plugins.load.paths is not a list")?;
    let is_folder = |text: Option<String>| text.is_some_and(|text| text == folder);
    let mut known = paths.elements().into_iter().map(|path| path.as_string_lit());
    let is_there = known.any(|path| is_folder(path.and_then(|path| path.decoded_value().ok())));
    if !is_there {
        paths.append(CstInputValue::String(folder.to_owned()));
    }
    let entries = object(&plugins, "entries", "plugins.entries")?;
    let entry = object(&entries, ID, "the plugin's entry in plugins.entries")?;
    is_single(&entry, "enabled", "enabled of the plugin's entry")?;
    let is_enabled = match entry.get("enabled") {
        Some(enabled) => {
            let is_enabled = enabled.value().and_then(|value| value.as_boolean_lit()).is_some_and(|on| on.value());
            if !is_enabled {
                enabled.set_value(CstInputValue::Bool(true));
            }
            is_enabled
        }
        None => {
            entry.append("enabled", CstInputValue::Bool(true));
            false
        }
    };
    if is_there && is_enabled {
        return Ok(None);
    }
    let new = format!("{mark}{tree}");
    // The file is somebody else's: better no edit than one that does not read as it should.
    if !says(&parse(&new)?, folder) {
        return Err("cannot be edited safely".to_owned());
    }
    Ok(Some(new))
}

/// What may keep OpenClaw from loading a plugin that is configured.
pub(super) fn warnings(openclaw: &Value) -> Vec<String> {
    let plugins = &openclaw["plugins"];
    let names = |list: &Value| list.as_array().map(|list| list.iter().any(|name| name == ID));
    let mut warnings = Vec::new();
    if names(&plugins["allow"]) == Some(false) {
        warnings.push(format!("plugins.allow does not name {ID:?}, so OpenClaw will not load it; add it there"));
    }
    if names(&plugins["deny"]) == Some(true) {
        warnings.push(format!("plugins.deny names {ID:?}, so OpenClaw will not load it; remove it there"));
    }
    if plugins["enabled"] == false {
        warnings.push("plugins.enabled is false, so OpenClaw loads no plugin at all".to_owned());
    }
    warnings
}

/// The paths that OpenClaw loads plugins from.
pub(super) fn paths(openclaw: &Value) -> impl Iterator<Item = &str> {
    openclaw["plugins"]["load"]["paths"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn says(openclaw: &Value, folder: &str) -> bool {
    paths(openclaw).any(|path| path == folder) && openclaw["plugins"]["entries"][ID]["enabled"] == true
}

/// The object of this name, made if there is none.
fn object(parent: &CstObject, name: &str, path: &str) -> Result<CstObject, String> {
    is_single(parent, name, path)?;
    parent.object_value_or_create(name).ok_or_else(|| format!("{path} is not an object"))
}

/// Of two keys with the same name OpenClaw takes the last and an editor the first.
fn is_single(parent: &CstObject, name: &str, path: &str) -> Result<(), String> {
    let is_name = |text: Option<String>| text.is_some_and(|text| text == name);
    match parent.properties().into_iter().filter(|property| is_name(property.decoded_name())).count() {
        0 | 1 => Ok(()),
        _ => Err(format!("{path} is there more than once")),
    }
}

fn cannot_be_read(error: &jsonc_parser::errors::ParseError) -> String {
    format!("cannot be read: {} (line {}, column {})", error.kind(), error.line_display(), error.column_display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "/opt/a \"plugin\"";

    /// What differs between two texts: lines that are gone, lines that are new.
    fn lost<'t>(old: &'t str, new: &str) -> Vec<&'t str> {
        old.lines().filter(|line| !new.contains(line.trim().trim_end_matches(','))).collect()
    }

    #[test]
    fn whatever_stands_in_the_file_stays_and_a_second_time_nothing_is_added() {
        for text in [
            "{}",
            "{ }\n",
            "\u{feff}{\"a\": 1}",
            "{\n  // mine\n  gateway: {port: 0x10, auth: {token: 'a\\x41'}}, /* b */\n  n: [+1, .5, Infinity,],\n}\n",
            "{\r\n\t\"plugins\": {\r\n\t\t// only these\r\n\t\t\"load\": {\"paths\": [\"/x\"]} // x\r\n\t}\r\n}\r\n",
            "{\"plugins\": {\"entries\": {\"ograph\": {\"config\": {\"dispatch\": false}}, \"b\": {}}}} // end",
            "{\"plugins\": {\"entries\": {\"ograph\": {\"enabled\": false, /* why */ \"config\": {}}}}}",
            "{plugins: {load: {paths: []}, entries: {'ograph': {enabled: true}}}}",
        ] {
            let new = add(text, FOLDER).unwrap().expect("something is missing");
            let value = parse(&new).unwrap();
            assert!(says(&value, FOLDER), "{new}");
            assert_eq!(add(&new, FOLDER), Ok(None), "{new}");
            for comment in
                ["// mine", "/* b */", "// only these", "// x", "// end", "/* why */", "\u{feff}", "'a\\x41'"]
            {
                assert_eq!(new.contains(comment), text.contains(comment), "{comment}: {new}");
            }
            if text.lines().count() > 3 {
                assert_eq!(new.contains("\r\n"), text.contains("\r\n"));
                assert_eq!(new.matches('\r').count(), new.matches("\r\n").count());
            }
            // Without what was added it is what it was.
            let mut expected = parse(text).unwrap();
            let mut paths: Vec<Value> = paths(&expected).map(Value::from).collect();
            paths.push(FOLDER.into());
            expected["plugins"]["load"]["paths"] = paths.into();
            expected["plugins"]["entries"][ID]["enabled"] = true.into();
            assert_eq!(value, expected, "{new}");
        }
        let text = "{\n  \"a\": 1, // one\n  \"b\": {\n    \"c\": 2\n  }\n}\n";
        assert_eq!(lost(text, &add(text, "/p").unwrap().unwrap()), Vec::<&str>::new());
    }

    #[test]
    fn what_cannot_be_edited_is_refused_with_the_reason_and_without_its_secrets() {
        for (text, words) in [
            ("", "is not an object"),
            ("[]", "is not an object"),
            ("{\"plugins\": null}", "plugins is not an object"),
            ("{\"plugins\": []}", "plugins is not an object"),
            ("{\"plugins\": {\"load\": \"x\"}}", "plugins.load is not an object"),
            ("{\"plugins\": {\"load\": {\"paths\": \"x\"}}}", "plugins.load.paths is not a list"),
            ("{\"plugins\": {\"entries\": {\"ograph\": true}}}", "entry in plugins.entries is not an object"),
            ("{\"plugins\": {}, plugins: {}}", "plugins is there more than once"),
            ("{\"token\": \"hush\" \"b\": 1}", "(line 1, column"),
            ("{\n  \"token\": \"hush", "(line 2, column"),
            ("{\"token\": hush}", "cannot be read"),
        ] {
            let error = add(text, FOLDER).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hush") && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn what_keeps_openclaw_from_loading_it_is_a_warning() {
        let warned = |text: &str| warnings(&parse(text).unwrap());
        for text in ["{}", "{plugins: {allow: ['ograph'], deny: ['x'], enabled: true}}"] {
            assert_eq!(warned(text), Vec::<String>::new());
        }
        let all = warned("{plugins: {allow: ['x'], deny: ['ograph'], enabled: false}}");
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].contains("plugins.allow does not name \"ograph\""), "{all:?}");
    }
}
