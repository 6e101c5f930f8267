//! Health as one registry of named conditions, shown alike in readiness, status, metrics and on the page.
//!
//! A condition holds or it does not; while it does it says since when and how bad it is. Nothing here is stored: what
//! the actors publish is the only truth, so a condition can never be left behind.

use std::time::Duration;

use ograph_dispatcher_actors::{
    model::time::Timestamp,
    status::{ActorState, Status, Trouble},
    store::Outcome,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::words;
use crate::reload::Refused;

/// OGraph refuses the token.
pub(super) const SOURCE_REFUSED: &str = "source.refused";
/// No projection can be read.
pub(super) const SOURCE_FAILING: &str = "source.failing";

/// How long after a restart an actor is pointed at.
const RECENT: Duration = Duration::from_secs(10 * 60);
/// A projection that cannot be read for longer is stale; at least this long, and several polls.
const STALE_AFTER: Duration = Duration::from_secs(120);
const STALE_POLLS: u32 = 4;
/// How many single projections are listed; the status has all of them.
const LISTED: usize = 20;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    /// Its stable name, e.g. `receiver.failing`.
    pub(super) name: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// Whether the dispatcher cannot do its job because of it: then it is not ready.
    pub(super) blocks: bool,
    /// What it is about, if there are several such things: a projection, a receiver, an actor.
    pub(super) subject: Option<String>,
    /// Since when.
    #[schemars(with = "Option<String>")]
    pub(super) since: Option<Timestamp>,
    /// What is wrong, in words.
    pub(super) message: String,
}

/// How bad a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Severity {
    /// Somebody wanted it so.
    Notice,
    /// Unexpected, but nothing is lost.
    Warning,
    /// A person is needed, or the job is not being done.
    Error,
}

impl Severity {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What the actors do not know.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside {
    /// The configuration that was refused last.
    pub(super) refused: Option<Refused>,
    /// Why events cannot be written to their file.
    pub(super) events_file: Option<(Timestamp, String)>,
    /// Whether the process is about to end.
    pub(super) stopping: bool,
}

impl Condition {
    pub(super) fn new(name: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self { name, severity, blocks: false, subject: None, since: None, message: message.into() }
    }

    fn about(self, subject: impl ToString) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    fn since(self, since: impl Into<Option<Timestamp>>) -> Self {
        Self { since: since.into(), ..self }
    }

    fn blocking(self) -> Self {
        Self { blocks: true, ..self }
    }
}

/// Every condition that holds, the worst first.
pub(super) fn conditions(status: &Status, outside: &Outside, now: Timestamp) -> Vec<Condition> {
    let mut all = Vec::new();
    process(status, outside, now, &mut all);
    source(status, now, &mut all);
    availability(status, now, &mut all);
    receivers(status, now, &mut all);
    all.sort_by(|a, b| (b.blocks, b.severity).cmp(&(a.blocks, a.severity)));
    all
}

fn process(status: &Status, outside: &Outside, now: Timestamp, all: &mut Vec<Condition>) {
    if outside.stopping {
        all.push(Condition::new("stopping", Severity::Notice, "the dispatcher is stopping").blocking());
    }
    let watched = status.watcher.projections > 0;
    if status.scheduler.state.is_none() || (watched && status.watcher.last_poll_at.is_none()) {
        all.push(Condition::new("starting", Severity::Notice, "the first poll has not ended yet").blocking());
    }
    for (name, actor) in &status.actors {
        let note = actor.last_panic.as_ref();
        let at = note.map(|note| note.at);
        let panic = note.map_or(String::new(), |note| format!(": {}", note.message));
        match actor.state {
            ActorState::Running => {
                if at.is_some_and(|at| now.since(at) < RECENT) {
                    let message = format!("the {name} panicked and was restarted{panic}");
                    all.push(Condition::new("actor.restarted", Severity::Warning, message).about(name).since(at));
                }
            }
            ActorState::Restarting => {
                let message = format!("the {name} panicked and is being restarted{panic}");
                all.push(Condition::new("actor.down", Severity::Error, message).about(name).since(at).blocking());
            }
            ActorState::GivenUp => {
                let message = format!("the {name} panicked too often{panic}");
                all.push(Condition::new("actor.down", Severity::Error, message).about(name).since(at).blocking());
            }
        }
    }
    if let Some(error) = &status.store_error {
        let message = format!("the state cannot be stored: {error}");
        all.push(Condition::new("store.failing", Severity::Error, message).blocking());
    }
    if let Some(Refused { at, message }) = &outside.refused {
        let message = format!("the configuration was not reloaded, the one before is in force: {message}");
        all.push(Condition::new("config.refused", Severity::Warning, message).since(*at));
    }
    if let Some((since, message)) = &outside.events_file {
        let message = format!("events cannot be written: {message}");
        all.push(Condition::new("eventsFile.failing", Severity::Warning, message).since(*since));
    }
}

fn source(status: &Status, now: Timestamp, all: &mut Vec<Condition>) {
    let watcher = &status.watcher;
    let first = |troubles: &[&Trouble]| troubles.iter().map(|trouble| trouble.since).min();
    let failing: Vec<_> = watcher.failing.values().collect();
    let refused: Vec<_> = failing.iter().copied().filter(|trouble| trouble.error == "unauthorized").collect();
    let everything = !failing.is_empty() && failing.len() >= watcher.projections;
    if let Some(since) = first(&refused) {
        let message = format!("OGraph refuses the token{}", words::since(Some(since), now));
        let condition = Condition::new(SOURCE_REFUSED, Severity::Error, message).since(since);
        all.push(Condition { blocks: everything, ..condition });
    }
    let others: Vec<_> = watcher.failing.iter().filter(|(_, trouble)| trouble.error != "unauthorized").collect();
    if everything && refused.is_empty() && failing.len() > 1 {
        let since = first(&failing);
        let example = failing.first().map_or("", |trouble| trouble.message.as_str());
        let message = format!("no projection can be read{}: {example}", words::since(since, now));
        all.push(Condition::new(SOURCE_FAILING, Severity::Error, message).since(since).blocking());
        return;
    }
    let stale = STALE_AFTER.max(Duration::from_millis(watcher.interval_ms).saturating_mul(STALE_POLLS));
    for (key, trouble) in others.into_iter().take(LISTED) {
        let what = &trouble.message;
        let condition = if now.since(trouble.since) >= stale {
            let message = format!("what is known of it is stale{}: {what}", words::since(Some(trouble.since), now));
            Condition::new("projection.stale", Severity::Error, message)
        } else {
            Condition::new("projection.failing", Severity::Warning, what.clone())
        };
        let condition = condition.about(key).since(trouble.since);
        all.push(Condition { blocks: everything, ..condition });
    }
}

fn availability(status: &Status, now: Timestamp, all: &mut Vec<Condition>) {
    let scheduler = &status.scheduler;
    if let Some(error) = &scheduler.error {
        // Waiting does not mend these.
        let lasting = matches!(scheduler.error_kind, Some("unauthorized" | "not_found" | "not_understood"));
        let severity = if lasting { Severity::Error } else { Severity::Warning };
        let since = words::since(scheduler.room_since, now);
        let message = format!("nobody knows whether there is room, so nothing is pushed{since}: {error}");
        all.push(Condition::new("availability.unknown", severity, message).since(scheduler.room_since));
    }
    if scheduler.state == Some(ograph_dispatcher_actors::status::Phase::Paused) {
        let message = "pushing is paused by hand";
        all.push(Condition::new("pushing.paused", Severity::Notice, message).since(scheduler.since));
    }
}

fn receivers(status: &Status, now: Timestamp, all: &mut Vec<Condition>) {
    for receiver in &status.receivers {
        let Some(last) = receiver.last_delivery.as_ref() else { continue };
        let (name, severity) = match last.outcome {
            Outcome::Delivered => continue,
            Outcome::Failed => ("receiver.failing", Severity::Warning),
            Outcome::Refused => ("receiver.refused", Severity::Error),
            Outcome::Skipped => ("receiver.skipped", Severity::Warning),
        };
        let message = format!("receiver {} {}", receiver.receiver, words::receiver(receiver, now));
        all.push(Condition::new(name, severity, message).about(&receiver.receiver).since(receiver.failing_since));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use ograph_dispatcher_actors::{
        model::key::Projection,
        status::Phase,
        status::{ActorStatus, LastDelivery, PanicNote, ReceiverStatus, SchedulerStatus, WatcherStatus},
    };

    use super::{super::testing, *};

    const NOON: Timestamp = Timestamp::EPOCH;

    fn later(seconds: u64) -> Timestamp {
        NOON + Duration::from_secs(seconds)
    }

    fn healthy() -> Status {
        let watcher = WatcherStatus { projections: 2, last_poll_at: Some(NOON), ..WatcherStatus::default() };
        let scheduler = SchedulerStatus { state: Some(Phase::Idle), ..SchedulerStatus::default() };
        Status { watcher: Arc::new(watcher), scheduler: Arc::new(scheduler), ..Status::default() }
    }

    fn failing(error: &'static str, keys: &[&str]) -> Status {
        let trouble = Trouble { error, message: "503 Service Unavailable".into(), since: NOON, failures: 1 };
        let failing = keys.iter().map(|key| (key.parse::<Projection>().unwrap().key, trouble.clone())).collect();
        let watcher = WatcherStatus {
            failing,
            projections: 2,
            interval_ms: 30_000,
            last_poll_at: Some(NOON),
            ..WatcherStatus::default()
        };
        Status { watcher: Arc::new(watcher), ..healthy() }
    }

    fn names(status: &Status, now: Timestamp) -> Vec<(&'static str, bool)> {
        let conditions = conditions(status, &Outside::default(), now);
        conditions.iter().map(|condition| (condition.name, condition.blocks)).collect()
    }

    #[test]
    fn nothing_holds_when_all_is_well_and_starting_holds_before_the_first_poll() {
        assert_eq!(names(&healthy(), NOON), []);
        assert_eq!(names(&Status::default(), NOON), [("starting", true)]);
    }

    #[test]
    fn one_projection_that_fails_is_a_warning_and_later_stale_and_never_unready() {
        let status = failing("server", &["a"]);
        assert_eq!(names(&status, later(5)), [("projection.failing", false)]);
        assert_eq!(names(&status, later(120)), [("projection.stale", false)]);
    }

    #[test]
    fn all_projections_failing_is_one_condition_and_not_ready() {
        assert_eq!(names(&failing("server", &["a", "b"]), later(5)), [(SOURCE_FAILING, true)]);
        assert_eq!(names(&failing("unauthorized", &["a", "b"]), later(5)), [(SOURCE_REFUSED, true)]);
        assert_eq!(names(&failing("unauthorized", &["a"]), later(5)), [(SOURCE_REFUSED, false)]);
    }

    #[test]
    fn an_actor_is_pointed_at_for_a_while_after_its_restart() {
        let note = PanicNote { at: NOON, message: "boom".to_owned(), location: None };
        let actor = |state| ActorStatus { state, restarts: 1, last_panic: Some(note.clone()) };
        let status = |state| Status { actors: BTreeMap::from([("watcher", actor(state))]), ..healthy() };
        assert_eq!(names(&status(ActorState::Restarting), later(1)), [("actor.down", true)]);
        assert_eq!(names(&status(ActorState::Running), later(1)), [("actor.restarted", false)]);
        assert_eq!(names(&status(ActorState::Running), later(601)), []);
    }

    #[test]
    fn receivers_store_and_configuration_have_their_conditions_and_the_worst_comes_first() {
        let receiver = |outcome| ReceiverStatus {
            failing_since: Some(NOON),
            last_delivery: Some(LastDelivery { at: NOON, outcome, detail: "410 Gone".to_owned() }),
            pending: 1,
            ..testing::receiver("hook")
        };
        let status = Status {
            receivers: [Outcome::Delivered, Outcome::Failed, Outcome::Refused].map(receiver).to_vec(),
            store_error: Some("no space left".to_owned()),
            ..healthy()
        };
        let refused = Refused { at: NOON, message: "x".to_owned() };
        let outside = Outside { refused: Some(refused), ..Outside::default() };
        let conditions = conditions(&status, &outside, later(1));
        let names: Vec<_> = conditions.iter().map(|condition| condition.name).collect();
        assert_eq!(names, ["store.failing", "receiver.refused", "config.refused", "receiver.failing"]);
    }
}
