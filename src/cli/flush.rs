//! `flush`: look once, then tell everybody now.

use std::error::Error;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::{
    Exit, Output,
    daemon::{Daemon, DaemonArgs, block_on, understood},
    human::count,
    output::{Cell, Table, Tone},
};
use crate::config::{Environment, Flags};

#[derive(Debug, Args)]
pub(super) struct FlushArgs {
    /// Only if OpenClaw has room; otherwise nothing is pushed and the exit code is 4
    #[arg(long)]
    when_available: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Deserialize)]
struct Report {
    delivered: u64,
    batches: Vec<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    receiver: String,
    changes: u64,
    outcome: String,
    #[serde(default)]
    detail: String,
}

/// Fails if somebody who was to be told was not.
pub(super) fn flush(
    args: &FlushArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let order = if args.when_available { json!({"whenAvailable": true}) } else { json!({}) };
    let answer = block_on(async { Daemon::find(&args.daemon, flags, environment)?.post("v1/flush", &order).await });
    let answer = output.answered(answer, args.json)?;
    let Report { delivered, batches } = understood(&answer)?;
    let all_told = batches.iter().all(|batch| !["failed", "refused"].contains(&batch.outcome.as_str()));
    if args.json {
        output.json(&answer)?;
    } else if batches.is_empty() {
        output.line("nothing was pending")?;
    } else {
        let mut table = Table::new(["RECEIVER", "CHANGES", "OUTCOME", ""]);
        for batch in &batches {
            let outcome = Cell::new(&batch.outcome, outcome_tone(&batch.outcome));
            table.row([(&batch.receiver).into(), batch.changes.into(), outcome, Cell::new(&batch.detail, Tone::Faint)]);
        }
        output.table(&table)?;
        output.line(format_args!("{} of {} told", delivered, count(batches.len() as u64, "receiver")))?;
    }
    Ok(if all_told { Exit::Done } else { Exit::Failed })
}

/// How an outcome looks.
pub(super) fn outcome_tone(outcome: &str) -> Tone {
    match outcome {
        "delivered" => Tone::Good,
        "failed" | "refused" => Tone::Bad,
        _ => Tone::Faint,
    }
}
