//! `doctor`: what keeps the dispatcher from doing its job, and the remedy. Nothing is delivered, and no state is touched.

mod gateway;
mod local;
mod network;
mod openclaw;

use std::{error::Error, future::Future};

use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesOrdered};
use serde::Serialize;
use serde_json::json;

use super::{
    Exit, Output, SettingsArgs,
    daemon::block_on,
    output::{Cell, Tone, harmless},
};
use crate::config::{Environment, Flags, LoadError, Loaded, Loader};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Level {
    Ok,
    /// It works, but perhaps not as wanted.
    Warn,
    /// It does not work.
    Fail,
}

/// What one check found out.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// What was looked at.
    name: String,
    level: Level,
    /// What was found, on one line.
    message: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl Finding {
    fn new(name: impl Into<String>, level: Level, message: impl Into<String>) -> Self {
        Self { name: name.into(), level, message: message.into(), remedy: None }
    }

    fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, message)
    }

    fn warn(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Level::Warn, message)
    }

    fn fail(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, Level::Fail, message)
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// A check under way. All of them run at the same time; what they find is shown in order.
type Check<'c> = LocalBoxFuture<'c, Vec<Finding>>;

fn check<'c>(work: impl Future<Output = Vec<Finding>> + 'c) -> Check<'c> {
    work.boxed_local()
}

/// Checks everything. Fails if something keeps the dispatcher from doing its job.
pub(super) fn doctor(
    args: DoctorArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let loader = Loader { environment, flags: flags.overlaid(args.settings.into_flags()) };
    let loaded = loader.load();
    block_on(async {
        let mut checks: FuturesOrdered<Check<'_>> = FuturesOrdered::new();
        checks.push_back(check(async { configuration(&loaded) }));
        checks.push_back(check(async { vec![local::state(&loader)] }));
        checks.push_back(check(async { vec![network::daemon(&loader).await] }));
        match &loaded {
            Ok(Loaded { config, .. }) => {
                for work in network::checks(config, &loader.environment) {
                    checks.push_back(work);
                }
                for work in local::checks(config, &loader.environment) {
                    checks.push_back(work);
                }
            }
            Err(_) => checks.push_back(check(async {
                vec![Finding::warn("ograph, openclaw, receivers", "not checked without a valid configuration")]
            })),
        }
        let mut findings = Vec::new();
        while let Some(found) = checks.next().await {
            for finding in found {
                if !args.json {
                    show(&finding, output)?;
                }
                findings.push(finding);
            }
        }
        let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        if args.json {
            output.json(&json!({"ok": worst < Level::Fail, "checks": findings}))?;
        } else {
            output.line(match worst {
                Level::Ok => "\nall is well",
                Level::Warn => "\nit works; the warnings may matter",
                Level::Fail => "\nsomething keeps it from working",
            })?;
        }
        Ok(if worst == Level::Fail { Exit::Failed } else { Exit::Done })
    })
}

fn show(finding: &Finding, output: &mut Output<'_>) -> std::io::Result<()> {
    let (word, tone) = match finding.level {
        Level::Ok => ("ok  ", Tone::Good),
        Level::Warn => ("warn", Tone::Warn),
        Level::Fail => ("FAIL", Tone::Bad),
    };
    let name = output.painted(&Cell::new(&finding.name, Tone::Head));
    output.line(format_args!("{}  {name}: {}", output.painted(&Cell::new(word, tone)), harmless(&finding.message)))?;
    if let Some(remedy) = &finding.remedy {
        let remedy = output.painted(&Cell::new(remedy, Tone::Faint));
        output.line(format_args!("      → {remedy}"))?;
    }
    // Somebody waits for each line.
    output.out.flush()
}

fn configuration(loaded: &Result<Loaded, LoadError>) -> Vec<Finding> {
    const NAME: &str = "configuration";
    match loaded {
        Ok(loaded) => {
            let file =
                loaded.file.as_ref().map_or("environment and flags alone".to_owned(), |f| f.display().to_string());
            let watched = super::human::count(loaded.config.ograph.projections.len() as u64, "projection");
            let first = Finding::ok(NAME, format!("{file}, {watched}"));
            let warnings = loaded.warnings.iter().map(|warning| Finding::warn(NAME, warning.to_string()));
            std::iter::once(first).chain(warnings).collect()
        }
        Err(LoadError::FirstRun(path)) => vec![
            Finding::fail(NAME, format!("there is none at {}", path.display()))
                .remedy("`ograph-dispatcher init` creates it, `ograph-dispatcher sandbox` works without"),
        ],
        Err(LoadError::Invalid(problems)) => {
            let errors = problems.errors.iter().map(|error| Finding::fail(NAME, error.to_string()));
            let warnings = problems.warnings.iter().map(|warning| Finding::warn(NAME, warning.to_string()));
            errors.chain(warnings).collect()
        }
    }
}
