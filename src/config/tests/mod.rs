//! Tests of the whole way from text, variables and flags to a configuration.

mod errors;
mod fuzz;
mod loading;
mod schema;
mod secrets;
mod values;

use std::path::Path;

use super::{Environment, Flags, LoadError, Loaded, Loader};

const EXAMPLE: &str = include_str!("../../../config/dispatcher.example.json");
const FIRST_GENERATION: &str = include_str!("../../../tests/fixtures/config/first-generation.json");
const LATER_GENERATION: &str = include_str!("../../../tests/fixtures/config/later-generation.json");
const EVERY_KEY: &str = include_str!("../../../tests/fixtures/config/every-key.json");

/// An environment without any variable.
fn environment() -> Environment {
    Environment {
        home: Some("/home/ann".into()),
        config: Some("/home/ann/.config".into()),
        state: Some("/home/ann/.local/state".into()),
        temp: "/tmp".into(),
        current: "/here".into(),
        ..Environment::default()
    }
}

/// A loader with these variables.
fn with(variables: &[(&str, &str)]) -> Loader {
    let mut environment = environment();
    environment.variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Loader { environment, flags: Flags::default() }
}

/// The loader that the fixtures need.
fn for_fixtures() -> Loader {
    with(&[("FIXTURE_TOKEN", "fixture-ograph-token")])
}

fn load_with(loader: &Loader, text: &str) -> Result<Loaded, LoadError> {
    loader.load_bytes(Path::new("f.json"), text.as_bytes())
}

fn load(text: &str) -> Loaded {
    load_with(&with(&[]), text).unwrap_or_else(|error| panic!("{error}"))
}

/// All problems, one a line.
fn problems_with(loader: &Loader, text: &str) -> String {
    match load_with(loader, text) {
        Ok(loaded) => {
            loaded.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

fn problems(text: &str) -> String {
    problems_with(&with(&[]), text)
}

/// A valid file with some more members at the top, which start on line 3 and column 1.
fn file(members: &str) -> String {
    format!(
        "{{\n\"ograph\": {{\"endpoint\": \"https://o.example\", \"token\": \"t\", \"projections\": [\"p\"]}},\n{members}\n}}"
    )
}
