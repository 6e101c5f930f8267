//! `status`: how the daemon is, and why nothing is sent.

use std::{collections::BTreeMap, error::Error, time::Duration};

use clap::Args;
use ograph_dispatcher_actors::{
    clock::{Clock, SystemClock},
    model::time::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Exit, Output,
    daemon::{CallError, Daemon, DaemonArgs, block_on, understood},
    flush::outcome_tone,
    human::{count, duration, relative},
    lists::Trouble,
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
    started_at: Option<Timestamp>,
    uptime_ms: Option<u64>,
    #[serde(default)]
    actors: BTreeMap<String, Actor>,
    watcher: Watcher,
    scheduler: Scheduler,
    #[serde(default)]
    receivers: Vec<Receiver>,
    store_error: Option<String>,
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
    last_poll_at: Option<Timestamp>,
    next_poll_at: Option<Timestamp>,
    #[serde(default)]
    failing: BTreeMap<String, Trouble>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scheduler {
    state: Option<String>,
    since: Option<Timestamp>,
    #[serde(default)]
    reason: String,
    next_poll_at: Option<Timestamp>,
    available: Option<u64>,
    min_available: Option<u64>,
    availability: Option<Availability>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Availability {
    available: Option<u64>,
    min_available: Option<u64>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receiver {
    receiver: String,
    pending: u64,
    last_delivery: Option<LastDelivery>,
    #[serde(default)]
    failures: u64,
    failing_since: Option<Timestamp>,
    #[serde(default)]
    in_flight: bool,
    cooling_until: Option<Timestamp>,
    next_retry_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct LastDelivery {
    at: Timestamp,
    outcome: String,
    #[serde(default)]
    detail: String,
}

/// Shows the status once, or again and again.
pub(super) fn status(
    args: &StatusArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    block_on(async {
        let clock = SystemClock::new();
        let loader = args.daemon.loader(flags, environment);
        if !args.watch {
            let daemon = Daemon::named(&args.daemon, &loader)?;
            let answer = output.answered(daemon.get("v1/status").await, args.json)?;
            show(&answer, args.json, &daemon, clock.now().wall, output)?;
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
                Ok(answer) => show(answer, false, &daemon, clock.now().wall, output)?,
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
fn report(error: &CallError, output: &mut Output<'_>) -> std::io::Result<()> {
    writeln!(output.err, "{error}")
}

fn show(
    answer: &Value,
    json: bool,
    daemon: &Daemon,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<(), Box<dyn Error>> {
    if json {
        return Ok(output.json(answer)?);
    }
    let status: Status = understood(answer)?;
    let uptime = status.uptime_ms.map(Duration::from_millis).or(status.started_at.map(|start| now.since(start)));
    let uptime = uptime.map_or_else(String::new, |uptime| format!(", up {}", duration(uptime)));
    output.line(format_args!("ograph-dispatcher {}{uptime}, {}", harmless(&status.version), daemon.address.shown()))?;
    output.line("")?;
    scheduler(&status.scheduler, now, output)?;
    if let Some(error) = &status.store_error {
        let line = Cell::new(format_args!("the state cannot be stored: {error}"), Tone::Bad);
        output.line(output.painted(&line))?;
    }
    watcher(&status.watcher, now, output)?;
    output.line("")?;
    receivers(&status.receivers, now, output)?;
    actors(&status.actors, now, output)?;
    Ok(())
}

/// The answer to "why was nothing sent?".
fn scheduler(scheduler: &Scheduler, now: Timestamp, output: &mut Output<'_>) -> std::io::Result<()> {
    let state = scheduler.state.as_deref().unwrap_or("starting");
    let tone = match state {
        "idle" | "pushing" => Tone::Good,
        "waiting" | "cooldown" | "paused" => Tone::Warn,
        _ => Tone::Faint,
    };
    let since = scheduler.since.map_or_else(String::new, |since| format!(" ({})", relative(since, now)));
    // The reason usually begins with the state.
    let reason = match scheduler.reason.strip_prefix(state) {
        Some(rest) => rest.trim_start_matches([':', ',', ' ']),
        None => &scheduler.reason,
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", harmless(reason)) };
    output.line(format_args!("{}{reason}{since}", output.painted(&Cell::new(state, tone))))?;
    let availability = scheduler.availability.as_ref();
    let available = scheduler.available.or_else(|| availability?.available);
    let needed = scheduler.min_available.or_else(|| availability?.min_available);
    let error = scheduler.error.as_ref().or_else(|| availability?.error.as_ref());
    let room = match (available, error) {
        (Some(available), _) => format!("{} free", count(available, "slot")),
        (None, Some(error)) => format!("free slots are unknown: {error}"),
        (None, None) => "free slots are not known yet".to_owned(),
    };
    let needed = needed.map_or_else(String::new, |needed| format!(", {needed} needed"));
    let next = scheduler.next_poll_at.map_or_else(String::new, |next| format!("; asked again {}", relative(next, now)));
    output.line(harmless(&format!("{room}{needed}{next}")))
}

fn watcher(watcher: &Watcher, now: Timestamp, output: &mut Output<'_>) -> std::io::Result<()> {
    let last = watcher.last_poll_at.map_or_else(String::new, |last| format!(", last {}", relative(last, now)));
    let next = watcher.next_poll_at.map_or_else(String::new, |next| format!(", next {}", relative(next, now)));
    output.line(format_args!(
        "{} polled every {}{last}{next}",
        count(watcher.projections, "projection"),
        duration(Duration::from_millis(watcher.interval_ms)),
    ))?;
    for (projection, trouble) in &watcher.failing {
        let line = Cell::new(
            format_args!("{projection} cannot be polled since {}: {}", relative(trouble.since, now), trouble.message),
            Tone::Bad,
        );
        output.line(format_args!("  {}", output.painted(&line)))?;
    }
    Ok(())
}

fn receivers(receivers: &[Receiver], now: Timestamp, output: &mut Output<'_>) -> std::io::Result<()> {
    let mut table = Table::new(["RECEIVER", "PENDING", "LAST", "STATE"]);
    for receiver in receivers {
        let last = receiver.last_delivery.as_ref();
        let told = last.map_or_else(
            || Cell::new("never", Tone::Faint),
            |last| Cell::new(format_args!("{} {}", last.outcome, relative(last.at, now)), outcome_tone(&last.outcome)),
        );
        table.row([(&receiver.receiver).into(), receiver.pending.into(), told, receiver_state(receiver, now)]);
    }
    if table.is_empty() { output.line("no receivers") } else { output.table(&table) }
}

fn receiver_state(receiver: &Receiver, now: Timestamp) -> Cell {
    if receiver.in_flight {
        return Cell::new("being told", Tone::Good);
    }
    if receiver.failures > 0 {
        let since = receiver.failing_since.map_or_else(String::new, |since| format!(" since {}", relative(since, now)));
        let retry = receiver.next_retry_at.map_or_else(String::new, |at| format!(", again {}", relative(at, now)));
        let why = receiver.last_delivery.as_ref().map_or("", |last| &last.detail);
        return Cell::new(
            format_args!("failing{since}, {}{retry}: {why}", count(receiver.failures, "time")),
            Tone::Bad,
        );
    }
    match receiver.cooling_until.filter(|until| *until > now) {
        Some(until) => Cell::new(format_args!("cooling down, {} left", duration(until.since(now))), Tone::Warn),
        None => match receiver.last_delivery.as_ref().filter(|last| last.outcome == "skipped") {
            Some(last) => Cell::new(&last.detail, Tone::Faint),
            None => Cell::new("ok", Tone::Good),
        },
    }
}

/// Nothing to say as long as every actor runs and none was ever restarted.
fn actors(actors: &BTreeMap<String, Actor>, now: Timestamp, output: &mut Output<'_>) -> std::io::Result<()> {
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
