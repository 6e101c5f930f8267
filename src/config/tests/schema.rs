//! Schema and decoder describe the same file.

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Value, json};

use super::*;
use crate::config::{decode::decode, kinds::Scope, schema, text::FileText};

/// The generated schema, compiled.
struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("schema.json", generated()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("schema.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    fn validate(&self, value: &Value) -> Result<(), String> {
        self.0.validate(value, self.1).map_err(|error| format!("{error:#}"))
    }
}

fn generated() -> Value {
    serde_json::from_str(&schema::text()).unwrap()
}

fn parse(text: &str) -> Value {
    let tree = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default()).unwrap();
    tree.value.unwrap().into()
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dispatcher.schema.json");
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == schema::text(), "outdated; run: cargo run -- schema > config/dispatcher.schema.json");
}

#[test]
fn example_and_published_generations_satisfy_the_schema() {
    let validator = Validator::new();
    for text in [EXAMPLE, FIRST_GENERATION, LATER_GENERATION, EVERY_KEY] {
        validator.validate(&parse(text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    validator.validate(&json!({"oc": {"minAvailable": "2"}})).expect_err("it refuses something");
    validator.validate(&json!({"odd": 1})).expect_err("unknown keys are marked by editors");
}

/// Every path of the schema, without the indexes of arrays, and its schema.
fn schema_paths(root: &Value, schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.strip_prefix("#/$defs/").unwrap();
        schema_paths(root, &root["$defs"][name], path, found);
    }
    for choice in ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten() {
        schema_paths(root, choice, path, found);
    }
    if schema["items"].is_object() {
        schema_paths(root, &schema["items"], &format!("{path}[]"), found);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push((path.clone(), property.clone()));
        schema_paths(root, property, &path, found);
    }
}

#[test]
fn the_schema_knows_exactly_the_keys_that_the_decoder_asks_for() {
    let loader = for_fixtures();
    let text = FileText::new("f.json", EVERY_KEY.as_bytes()).unwrap();
    let scope = Scope { environment: &loader.environment, folder: Path::new("") };
    let (_, findings) = decode(Some(&text), scope, &loader.flags);

    let root = generated();
    let mut paths = Vec::new();
    schema_paths(&root, &root, "", &mut paths);
    let known: BTreeSet<String> = paths.into_iter().map(|(path, _)| path).collect();
    assert!(known.len() > 70, "the walk found {} keys only", known.len());
    let asked: Vec<_> = findings.asked.difference(&known).collect();
    let described: Vec<_> = known.difference(&findings.asked).collect();
    assert!(asked.is_empty() && described.is_empty(), "only asked for: {asked:?}; only described: {described:?}");
}

#[test]
fn the_example_mentions_every_key() {
    let root = generated();
    let mut paths = Vec::new();
    schema_paths(&root, &root, "", &mut paths);
    for (path, _) in paths {
        let key = path.rsplit('.').next().unwrap();
        assert!(EXAMPLE.contains(&format!("\"{key}\"")), "{path}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_decoder() {
    let settings = load(&file("")).settings;
    let root = generated();
    let mut paths = Vec::new();
    schema_paths(&root, &root, "", &mut paths);
    let defaults: Vec<_> = paths.iter().filter_map(|(path, schema)| Some((path, schema.get("default")?))).collect();
    assert!(defaults.len() > 15, "{defaults:?}");
    for (path, default) in defaults {
        if path == "ograph.projections" {
            continue; // The file has one.
        }
        let setting = settings.iter().find(|setting| setting.path == *path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(setting.value, *default, "{path}");
    }
}

/// The pointers of everything in a value but the value itself.
fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let pointer = format!("{pointer}/{name}");
        found.push(pointer.clone());
        pointers(value, &pointer, found);
    }
}

#[test]
fn schema_and_decoder_agree_on_what_each_key_may_hold() {
    let validator = Validator::new();
    let loader = for_fixtures();
    let every_key = parse(EVERY_KEY);
    let mut places = Vec::new();
    pointers(&every_key, "", &mut places);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(99_999_999_999_u64),
        json!(""),
        json!({}),
        json!({"odd": 1}),
        json!([]),
        json!([[]]),
    ];
    let mut disagreements = Vec::new();
    for place in &places {
        for value in &values {
            let mut changed = every_key.clone();
            *changed.pointer_mut(place).unwrap() = value.clone();
            let by_schema = validator.validate(&changed).is_ok();
            let errors = match load_with(&loader, &changed.to_string()) {
                // An unknown key is a warning to one and an error to the other.
                Ok(loaded) => loaded.warnings.iter().any(|warning| warning.message.starts_with("unknown")),
                Err(_) => true,
            };
            if by_schema == errors {
                disagreements.push(format!("{place} = {value}"));
            }
        }
    }
    let expected = [
        // What is missing may be set in the environment.
        "/ograph = {}",
        "/oc/gateway = {}",
        // Arguments may be empty, but the program may not.
        "/agents/2/argv/0 = \"\"",
        // Whether these may be absent depends on other keys.
        "/agents/4/to = null",
        "/control/token = null",
    ];
    assert_eq!(disagreements, expected);
}
