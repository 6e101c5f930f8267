//! `status`: how the daemon is, and why nothing is sent.

use std::{collections::BTreeMap, error::Error, io, time::Duration};

use clap::Args;
use ograph_dispatcher_actors::model::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Exit, Output,
    daemon::{CallError, Daemon, DaemonArgs, block_on, understood},
    flush::outcome_tone,
    human::{count, duration, relative},
    output::{Cell, Table, Tone, harmless},
};
use crate::config::{Environment, Flags};

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(1);
/// The cursor to the top left, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Shows it anew every second, until Ctrl-C; with --json one line of JSON each time
    #[arg(long)]
    watch: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: String,
    /// The daemon's clock: ours may be another one.
    now: Timestamp,
    uptime_ms: u64,
    conditions: Vec<Condition>,
    actors: BTreeMap<String, Actor>,
    watcher: Watcher,
    scheduler: Scheduler,
    receivers: Vec<Receiver>,
}

#[derive(Deserialize)]
struct Condition {
    severity: String,
    subject: Option<String>,
    since: Option<Timestamp>,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Actor {
    state: String,
    restarts: u64,
    last_panic: Option<PanicNote>,
}

#[derive(Deserialize)]
struct PanicNote {
    at: Timestamp,
    message: String,
    location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watcher {
    interval_ms: u64,
    projections: u64,
    last_sweep_at: Option<Timestamp>,
    next_poll_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scheduler {
    state: String,
    since: Option<Timestamp>,
    reason: String,
    next_poll_at: Option<Timestamp>,
    availability: Availability,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Availability {
    available: Option<u64>,
    min_available: u64,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receiver {
    receiver: String,
    /// Where it stands, in words.
    reason: String,
    pending: u64,
    last_delivery: Option<LastDelivery>,
    failures: u64,
}

#[derive(Deserialize)]
struct LastDelivery {
    at: Timestamp,
    outcome: String,
}

/// Shows the status once, or again and again.
pub(super) fn status(
    args: &StatusArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    block_on(async {
        let loader = args.daemon.loader(flags, environment);
        if !args.watch {
            let daemon = Daemon::named(&args.daemon, &loader)?;
            let answer = output.answered(daemon.get("v1/status").await, args.json)?;
            show(&answer, args.json, &daemon, output)?;
            return Ok(Exit::Done);
        }
        // The daemon has to be there once; later it may be restarted, perhaps elsewhere.
        let mut daemon = Daemon::named(&args.daemon, &loader)?;
        let mut answer = Ok(daemon.get("v1/status").await?);
        loop {
            if output.screen.is_terminal && !args.json {
                write!(output.out, "{CLEAR}")?;
            }
            match &answer {
                Ok(answer) if args.json => output.line(answer)?,
                Ok(answer) => show(answer, false, &daemon, output)?,
                Err(error) => report(error, output)?,
            }
            if !output.screen.is_terminal && !args.json {
                output.line("")?;
            }
            output.out.flush()?;
            tokio::select! {
                () = sleep(WATCH) => {}
                _ = actix_rt::signal::ctrl_c() => return Ok(Exit::Done),
            }
            answer = match Daemon::named(&args.daemon, &loader) {
                Ok(found) if found.address == daemon.address => daemon.get("v1/status").await,
                Ok(found) => {
                    daemon = found;
                    daemon.get("v1/status").await
                }
                Err(error) => Err(error),
            };
        }
    })
}

/// A daemon that is gone for now is part of what is watched.
fn report(error: &CallError, output: &mut Output<'_>) -> io::Result<()> {
    writeln!(output.err, "{error}")
}

fn show(answer: &Value, json: bool, daemon: &Daemon, output: &mut Output<'_>) -> Result<(), Box<dyn Error>> {
    if json {
        return Ok(output.json(answer)?);
    }
    let Status { version, now, uptime_ms, conditions, actors, watcher, scheduler, receivers } = understood(answer)?;
    let uptime = duration(Duration::from_millis(uptime_ms));
    output.line(format_args!("ograph-dispatcher {}, up {uptime}, {}\n", harmless(&version), daemon.address.shown()))?;
    show_scheduler(&scheduler, now, output)?;
    show_watcher(&watcher, now, output)?;
    show_conditions(&conditions, now, output)?;
    output.line("")?;
    show_receivers(&receivers, now, output)?;
    show_actors(&actors, now, output)?;
    Ok(())
}

/// The answer to "why was nothing sent?".
fn show_scheduler(scheduler: &Scheduler, now: Timestamp, output: &mut Output<'_>) -> io::Result<()> {
    let tone = match scheduler.state.as_str() {
        "idle" | "pushing" => Tone::Good,
        "waiting" | "cooldown" | "paused" => Tone::Warn,
        _ => Tone::Faint,
    };
    // The words often begin with the state.
    let reason = scheduler.reason.strip_prefix(&scheduler.state).unwrap_or(&scheduler.reason);
    let reason = reason.trim_start_matches([':', ',', ' ']);
    let colon = if reason.is_empty() { "" } else { ": " };
    let since = scheduler.since.map_or_else(String::new, |since| format!(" (since {})", relative(since, now)));
    let state = output.painted(&Cell::new(&scheduler.state, tone));
    output.line(format_args!("{state}{colon}{}{since}", harmless(reason)))?;
    let Availability { available, min_available, error } = &scheduler.availability;
    let room = match (available, error) {
        (Some(available), _) => format!("{}, {min_available} needed", count(*available, "free slot")),
        (None, Some(error)) => format!("free slots unknown: {error}"),
        (None, None) => "free slots not asked for yet".to_owned(),
    };
    let next = scheduler.next_poll_at.map_or_else(String::new, |next| format!("; asked again {}", relative(next, now)));
    output.line(harmless(&format!("{room}{next}")))
}

fn show_watcher(watcher: &Watcher, now: Timestamp, output: &mut Output<'_>) -> io::Result<()> {
    let last = watcher.last_sweep_at.map_or_else(String::new, |last| format!(", last {}", relative(last, now)));
    let next = watcher.next_poll_at.map_or_else(String::new, |next| format!(", next {}", relative(next, now)));
    let interval = duration(Duration::from_millis(watcher.interval_ms));
    output.line(format_args!("{} polled every {interval}{last}{next}", count(watcher.projections, "projection")))
}

/// What is not as it should be, the worst first.
fn show_conditions(conditions: &[Condition], now: Timestamp, output: &mut Output<'_>) -> io::Result<()> {
    for (index, Condition { severity, subject, since, message }) in conditions.iter().enumerate() {
        if index == 0 {
            output.line("")?;
        }
        let tone = match severity.as_str() {
            "error" => Tone::Bad,
            "warning" => Tone::Warn,
            _ => Tone::Faint,
        };
        // Most messages name what they are about.
        let subject = subject.as_ref().filter(|subject| !message.contains(subject.as_str()));
        let subject = subject.map_or_else(String::new, |subject| format!("{subject}: "));
        let since = since.map_or_else(String::new, |since| format!(" (since {})", relative(since, now)));
        let severity = output.painted(&Cell::new(severity, tone));
        output.line(format_args!("{severity}: {}", harmless(&format!("{subject}{message}{since}"))))?;
    }
    Ok(())
}

fn show_receivers(receivers: &[Receiver], now: Timestamp, output: &mut Output<'_>) -> io::Result<()> {
    let mut table = Table::new(["RECEIVER", "PENDING", "LAST PUSH", "STATE"]);
    for Receiver { receiver, reason, pending, last_delivery, failures } in receivers {
        let last = last_delivery.as_ref().map_or_else(
            || Cell::new("none yet", Tone::Faint),
            |last| Cell::new(format_args!("{} {}", last.outcome, relative(last.at, now)), outcome_tone(&last.outcome)),
        );
        let tone = if *failures > 0 { Tone::Bad } else { Tone::Plain };
        table.row([receiver.into(), pending.into(), last, Cell::new(reason, tone)]);
    }
    if table.is_empty() { output.line("no receivers") } else { output.table(&table) }
}

/// Nothing to say as long as every actor runs and none was ever restarted.
fn show_actors(actors: &BTreeMap<String, Actor>, now: Timestamp, output: &mut Output<'_>) -> io::Result<()> {
    let mut table = Table::new(["ACTOR", "STATE", "RESTARTS", "LAST PANIC"]);
    for (name, actor) in actors.iter().filter(|(_, actor)| actor.restarts > 0 || actor.state != "running") {
        let tone = if actor.state == "running" { Tone::Good } else { Tone::Bad };
        let panic = actor.last_panic.as_ref().map_or_else(String::new, |panic| {
            let place = panic.location.as_ref().map_or_else(String::new, |place| format!(" at {place}"));
            format!("{}: {}{place}", relative(panic.at, now), panic.message)
        });
        table.row([name.into(), Cell::new(&actor.state, tone), actor.restarts.into(), panic.into()]);
    }
    if table.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(&table)
}
