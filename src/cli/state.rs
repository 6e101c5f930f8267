//! `state`: the store of a dispatcher that is not running: checked, printed, compacted.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use ograph_dispatcher_actors::{
    model::value::Snapshot,
    store::{Delivery, FORMAT_VERSION, RedbStore, Saved, Store as _, StoreError},
};
use serde_json::{Value, json};

use super::{Exit, Output, refuse};
use crate::config::{Environment, Flags, Loader};

/// What to do with the store.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Reads all of it and says whether it can be believed
    Check(Place),
    /// Prints all of it as JSON lines; the values of projections are among them, tokens and secrets are not
    Dump(Place),
    /// Gives back the space that it no longer needs: the only one of these that writes
    Compact(Place),
}

/// Where the store is.
#[derive(Debug, Args)]
struct Place {
    /// The folder of the store [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Everything in a store.
struct Content {
    saved: Saved,
    values: Vec<Value>,
    deliveries: Vec<Delivery>,
}

/// Does it. A running dispatcher is left alone: then this is refused.
pub(super) fn state(
    args: &StateArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let (Action::Check(place) | Action::Dump(place) | Action::Compact(place)) = &args.action;
    let dir = match &place.dir {
        Some(dir) => dir.clone(),
        None => match (Loader { environment, flags }).load() {
            Ok(loaded) => loaded.config.state_dir,
            Err(error) => return refuse(&error, output),
        },
    };
    let done = match &args.action {
        Action::Check(_) => read(&dir).map(|content| describe(&dir, &content, output)),
        Action::Dump(_) => read(&dir).map(|content| dump(content, output)),
        Action::Compact(_) => RedbStore::compact(&dir).map(|(before, after)| {
            writeln!(output.out, "{before} bytes before, {after} bytes after")?;
            Ok(())
        }),
    };
    match done {
        Ok(written) => written.map(|()| Exit::Done),
        Err(error) => {
            writeln!(output.err, "error: {error}")?;
            Ok(if matches!(error, StoreError::Locked { .. }) { Exit::Refused } else { Exit::Failed })
        }
    }
}

/// Reads a copy: to open a store after a crash is to repair it.
fn read(dir: &Path) -> Result<Content, StoreError> {
    let copy = tempfile::tempdir()
        .map_err(|source| StoreError::Io { doing: "creating a temporary folder".to_owned(), source })?;
    RedbStore::copy(dir, copy.path())?;
    // Its message names the copy, which is gone when it is read.
    let store = RedbStore::open_existing(copy.path()).map_err(|error| match error {
        StoreError::Damaged(reason) => {
            StoreError::Damaged(reason.replace(&*copy.path().to_string_lossy(), &dir.to_string_lossy()))
        }
        StoreError::TooNew { found, .. } => StoreError::TooNew { path: dir.join("state.redb"), found },
        other => other,
    })?;
    let saved = store.load()?;
    let keys: Vec<_> = saved.observed.keys().cloned().collect();
    let observed = store.observed(&keys)?;
    let values = observed
        .iter()
        .map(|observed| json!(observed.as_ref().and_then(|found| found.state.as_ref()).map(Snapshot::value)));
    let values = values.collect();
    Ok(Content { saved, values, deliveries: store.deliveries(usize::MAX)? })
}

fn describe(dir: &Path, content: &Content, output: &mut Output<'_>) -> Result<(), Box<dyn Error>> {
    let Content { saved, deliveries, .. } = content;
    let out = &mut *output.out;
    writeln!(out, "{}: sound, format {FORMAT_VERSION}", dir.join("state.redb").display())?;
    writeln!(out, "  {} projections observed, {} deliveries logged", saved.observed.len(), deliveries.len())?;
    for (id, receiver) in &saved.receivers {
        let out_now = receiver.lease.as_ref().is_some_and(|lease| lease.in_flight);
        let note = if out_now { ", a batch is out" } else { "" };
        writeln!(out, "  {id}: {} pending{note}", receiver.entries.len())?;
    }
    if saved.paused {
        writeln!(out, "  pushing is paused")?;
    }
    Ok(())
}

/// One JSON object a line, each with its `kind`.
fn dump(content: Content, output: &mut Output<'_>) -> Result<(), Box<dyn Error>> {
    let Content { saved, values, deliveries } = content;
    let mut line = |value: &Value| writeln!(output.out, "{value}");
    line(&json!({"kind": "store", "format": FORMAT_VERSION, "paused": saved.paused}))?;
    for ((projection, head), value) in saved.observed.iter().zip(values) {
        line(&json!({"kind": "observed", "projection": projection, "head": head, "value": value}))?;
    }
    for (receiver, known) in &saved.receivers {
        line(&json!({"kind": "receiver", "receiver": receiver, "record": known.record}))?;
        for (projection, entry) in &known.entries {
            line(&json!({"kind": "pending", "receiver": receiver, "projection": projection, "entry": entry}))?;
        }
        if let Some(lease) = &known.lease {
            line(&json!({"kind": "lease", "receiver": receiver, "lease": lease}))?;
        }
    }
    for delivery in deliveries {
        line(&json!({"kind": "delivery", "delivery": delivery}))?;
    }
    Ok(())
}
