//! `pending`, `projections` and `deliveries`: what the daemon knows, as lists.

use std::error::Error;

use clap::Args;
use ograph_dispatcher_actors::model::time::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Exit, Output,
    daemon::{CallError, Daemon, DaemonArgs, block_on, understood},
    flush::outcome_tone,
    human::{count, duration, relative},
    output::{Cell, Table, Tone},
};
use crate::config::{Environment, Flags};

/// How much of a value is shown in a table, in characters.
const VALUE: usize = 40;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// How many, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    #[command(flatten)]
    list: ListArgs,
}

/// What every list command does; `show` writes it for people.
fn list<T: DeserializeOwned>(
    path: &str,
    member: &str,
    args: &ListArgs,
    (flags, environment): (Flags, Environment),
    output: &mut Output<'_>,
    show: impl FnOnce(Vec<T>, &mut Output<'_>) -> std::io::Result<()>,
) -> Result<Exit, Box<dyn Error>> {
    let answer = block_on(async { Daemon::find(&args.daemon, flags, environment)?.get(path).await });
    let answer = output.answered(answer, args.json)?;
    if args.json {
        output.json(&answer)?;
    } else {
        show(items(&answer, member)?, output)?;
    }
    Ok(Exit::Done)
}

/// The list itself, or the member of an object that holds it.
fn items<T: DeserializeOwned>(answer: &Value, member: &str) -> Result<T, CallError> {
    understood(answer.get(member).unwrap_or(answer))
}

#[derive(Deserialize)]
struct PendingReceiver {
    receiver: String,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    projection: String,
    kind: String,
    #[serde(default)]
    old: Value,
    #[serde(default)]
    new: Value,
    merged: u64,
    first_changed_at: Timestamp,
    last_changed_at: Timestamp,
}

/// `pending`.
pub(super) fn pending(
    args: &ListArgs,
    flags: Flags,
    environment: Environment,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let show = |receivers: Vec<PendingReceiver>, output: &mut Output<'_>| {
        if receivers.iter().all(|receiver| receiver.changes.is_empty()) {
            return output.line("nothing is pending: every receiver knows the latest values");
        }
        let mut table = Table::new(["RECEIVER", "PROJECTION", "KIND", "MERGED", "SINCE", "LAST", "CHANGE"]);
        for PendingReceiver { receiver, changes } in &receivers {
            for change in changes {
                table.row([
                    receiver.into(),
                    (&change.projection).into(),
                    Cell::new(&change.kind, kind_tone(&change.kind)),
                    change.merged.into(),
                    relative(change.first_changed_at, now).into(),
                    relative(change.last_changed_at, now).into(),
                    Cell::new(format_args!("{} → {}", short(&change.old), short(&change.new)), Tone::Faint),
                ]);
            }
        }
        output.table(&table)
    };
    list("v1/pending", "pending", args, (flags, environment), output, show)
}

fn kind_tone(kind: &str) -> Tone {
    match kind {
        "appeared" => Tone::Good,
        "removed" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// A value on part of a line.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[derive(Deserialize)]
struct Projection {
    projection: String,
    present: bool,
    since: Option<Timestamp>,
    failing: Option<Trouble>,
}

/// Something that fails.
#[derive(Deserialize)]
pub(super) struct Trouble {
    pub(super) message: String,
    pub(super) since: Timestamp,
    pub(super) failures: u64,
}

/// `projections`.
pub(super) fn projections(
    args: &ListArgs,
    flags: Flags,
    environment: Environment,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let show = |projections: Vec<Projection>, output: &mut Output<'_>| {
        if projections.is_empty() {
            return output.line("no projections are watched");
        }
        let mut table = Table::new(["PROJECTION", "VALUE", "SINCE", "POLLING"]);
        for Projection { projection, present, since, failing } in &projections {
            let value = match (since, present) {
                (None, _) => Cell::new("not yet seen", Tone::Faint),
                (Some(_), true) => "present".into(),
                (Some(_), false) => Cell::new("absent", Tone::Warn),
            };
            let polling = match failing {
                None => Cell::new("ok", Tone::Good),
                Some(trouble) => Cell::new(
                    format_args!(
                        "failing since {}, {}: {}",
                        relative(trouble.since, now),
                        count(trouble.failures, "poll"),
                        trouble.message
                    ),
                    Tone::Bad,
                ),
            };
            let since = since.map_or_else(Cell::default, |since| relative(since, now).into());
            table.row([projection.into(), value, since, polling]);
        }
        output.table(&table)
    };
    list("v1/projections", "projections", args, (flags, environment), output, show)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    at: Timestamp,
    receiver: String,
    batch_id: String,
    reason: String,
    changes: u64,
    outcome: String,
    #[serde(default)]
    detail: String,
    took_ms: u64,
}

/// `deliveries`.
pub(super) fn deliveries(
    args: &DeliveriesArgs,
    flags: Flags,
    environment: Environment,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let show = |deliveries: Vec<Delivery>, output: &mut Output<'_>| {
        if deliveries.is_empty() {
            return output.line("nothing was delivered yet");
        }
        let mut table = Table::new(["WHEN", "RECEIVER", "OUTCOME", "CHANGES", "REASON", "TOOK", "BATCH", "DETAIL"]);
        for delivery in &deliveries {
            table.row([
                relative(delivery.at, now).into(),
                (&delivery.receiver).into(),
                Cell::new(&delivery.outcome, outcome_tone(&delivery.outcome)),
                delivery.changes.into(),
                (&delivery.reason).into(),
                duration(std::time::Duration::from_millis(delivery.took_ms)).into(),
                Cell::new(&delivery.batch_id, Tone::Faint),
                Cell::new(&delivery.detail, Tone::Faint),
            ]);
        }
        output.table(&table)
    };
    let path = format!("v1/deliveries?limit={}", args.limit);
    list(&path, "deliveries", &args.list, (flags, environment), output, show)
}
