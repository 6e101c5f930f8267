//! `check`: is the configuration valid, and what is in force?

use std::error::Error;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Output, SettingsArgs, refuse};
use crate::config::{Environment, Flags, LoadError, Loaded, Loader, Problems};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Loads the configuration and shows it with all its problems. Nothing is contacted.
pub(super) fn check(
    args: CheckArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let loader = Loader { environment, flags: flags.overlaid(args.settings.into_flags()) };
    let loaded = loader.load();
    if args.json {
        serde_json::to_writer_pretty(&mut *output.out, &report(&loaded)).map_err(std::io::Error::from)?;
        writeln!(output.out)?;
        return Ok(if loaded.is_ok() { Exit::Done } else { Exit::Usage });
    }
    match loaded {
        Ok(loaded) => {
            describe(&loaded, output)?;
            Ok(Exit::Done)
        }
        Err(error) => {
            refuse(&error, output)?;
            if let LoadError::Invalid(problems) = error {
                writeln!(output.err, "{}", count(&problems))?;
            }
            Ok(Exit::Usage)
        }
    }
}

fn report(loaded: &Result<Loaded, LoadError>) -> Value {
    match loaded {
        Ok(loaded) => json!({
            "ok": true,
            "file": loaded.file,
            "errors": [],
            "warnings": loaded.warnings,
            "settings": loaded.settings,
        }),
        Err(LoadError::Invalid(problems)) => {
            json!({"ok": false, "errors": problems.errors, "warnings": problems.warnings})
        }
        Err(LoadError::FirstRun(path)) => json!({
            "ok": false,
            "errors": [{
                "file": path,
                "path": "",
                "message": "there is no configuration yet; `ograph-dispatcher init` creates it",
            }],
            "warnings": [],
        }),
    }
}

fn describe(loaded: &Loaded, output: &mut Output<'_>) -> std::io::Result<()> {
    let out = &mut *output.out;
    match &loaded.file {
        Some(file) => writeln!(out, "{}\n", file.display())?,
        None => writeln!(out, "no file: environment and flags alone\n")?,
    }
    let width = loaded.settings.iter().map(|setting| setting.path.len()).max().unwrap_or(0);
    for setting in &loaded.settings {
        writeln!(out, "  {:width$}  {}  ({})", setting.path, shown(&setting.value), setting.origin)?;
    }
    let config = &loaded.config;
    writeln!(
        out,
        "\nwatches: {}",
        list(config.ograph.projections.iter().map(|projection| projection.key.to_string()))
    )?;
    let file = config.push.dispatch_file.as_ref().map(|_| "dispatch-file".to_owned());
    let openclaw = &config.push.openclaw;
    let openclaw = openclaw.enabled.then(|| match openclaw.target {
        Some(_) => "openclaw".to_owned(),
        None => "openclaw (skipped until push.openclaw.target is set)".to_owned(),
    });
    let agents = config.agents.iter().map(|agent| agent.id.to_string());
    writeln!(out, "tells:   {}", list(file.into_iter().chain(openclaw).chain(agents)))?;
    out.flush()?;
    let problems = Problems { errors: Vec::new(), warnings: loaded.warnings.clone() };
    if problems.warnings.is_empty() {
        return writeln!(output.out, "ok");
    }
    writeln!(output.err, "\n{problems}")?;
    writeln!(output.out, "ok, with {}", count(&problems))
}

/// Text as it is, unless it would break the line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(char::is_control) => text.clone(),
        other => other.to_string(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

fn count(problems: &Problems) -> String {
    let plural = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        number => Some(format!("{number} {word}s")),
    };
    let counts = [plural(problems.errors.len(), "error"), plural(problems.warnings.len(), "warning")];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
