//! What the calls answer, as types: they are the JSON and its description in the OpenAPI document at once.

use std::{collections::BTreeMap, sync::Arc};

use ograph_dispatcher_actors::{
    messages::FlushReport,
    model::{document::Change, time::Timestamp},
    status::{ActorStatus, LastDelivery, PendingReceiver, ProjectionStatus, ReceiverStatus, Status, Trouble},
    store::{Delivery, Outcome},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{health::Condition, problem::ProblemDetail, words};

/// The state of everything.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    /// The program's version.
    pub(super) version: &'static str,
    /// What it was built from.
    pub(super) build: &'static str,
    pub(super) pid: u32,
    /// The daemon's clock, for counting down.
    #[schemars(with = "String")]
    pub(super) now: Timestamp,
    #[schemars(with = "String")]
    pub(super) started_at: Timestamp,
    pub(super) uptime_ms: u64,
    /// Whether nothing keeps it from doing its job.
    pub(super) ready: bool,
    /// What is not as it should be, the worst first.
    pub(super) conditions: Vec<Condition>,
    pub(super) actors: BTreeMap<String, ActorView>,
    pub(super) watcher: WatcherView,
    pub(super) scheduler: SchedulerView,
    pub(super) receivers: Vec<ReceiverView>,
    pub(super) config: ConfigView,
    /// Where OGraph's reactions may be sent: a path with a key that opens nothing else.
    pub(super) webhook: String,
}

/// One actor.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActorView {
    /// `running`, `restarting` or `givenUp`.
    #[schemars(with = "String")]
    state: ograph_dispatcher_actors::status::ActorState,
    restarts: u64,
    last_panic: Option<PanicView>,
}

/// A panic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PanicView {
    #[schemars(with = "String")]
    at: Timestamp,
    message: String,
    /// `file:line:column`
    location: Option<String>,
}

/// Who polls the projections.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WatcherView {
    /// The interval in force, in milliseconds.
    interval_ms: u64,
    /// How many projections are watched.
    projections: usize,
    /// Polls since the start.
    polls: u64,
    #[schemars(with = "Option<String>")]
    last_sweep_at: Option<Timestamp>,
    /// How long the last sweep took, in milliseconds.
    last_sweep_ms: Option<u64>,
    #[schemars(with = "Option<String>")]
    next_poll_at: Option<Timestamp>,
    /// The projections that cannot be read.
    errors: Vec<ProjectionError>,
}

/// A projection that cannot be read.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectionError {
    projection: String,
    #[serde(flatten)]
    trouble: TroubleView,
}

/// Something that fails.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TroubleView {
    /// The class of the error.
    error: &'static str,
    message: String,
    #[schemars(with = "String")]
    since: Timestamp,
    failures: u32,
}

/// Who decides when to push.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchedulerView {
    /// `starting`, `idle`, `waiting`, `cooldown`, `pushing` or `paused`.
    state: &'static str,
    /// Since when.
    #[schemars(with = "Option<String>")]
    since: Option<Timestamp>,
    /// Why nothing is sent now, or what is happening, in words.
    reason: String,
    /// When the availability is polled next.
    #[schemars(with = "Option<String>")]
    next_poll_at: Option<Timestamp>,
    availability: AvailabilityView,
    /// Until when the last receiver cools down.
    #[schemars(with = "Option<String>")]
    cooldown_until: Option<Timestamp>,
}

/// How much room there is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AvailabilityView {
    /// Free slots at the last poll; null if unknown.
    available: Option<u64>,
    /// How many a push needs.
    min_available: u64,
    /// Whether that was enough.
    enough: bool,
    /// Since when there is room, or is none, or nothing is known.
    #[schemars(with = "Option<String>")]
    since: Option<Timestamp>,
    /// Why it is unknown.
    error: Option<String>,
}

/// One receiver.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiverView {
    receiver: String,
    /// Where it stands, in words.
    reason: String,
    /// How many projections it does not know the latest value of.
    pending: usize,
    /// When the oldest of their changes was observed.
    #[schemars(with = "Option<String>")]
    oldest_pending_at: Option<Timestamp>,
    /// Whether a push is under way.
    in_flight: bool,
    last_delivery: Option<LastDeliveryView>,
    /// The last error, until a push succeeds.
    last_error: Option<String>,
    /// How many pushes failed since the last success.
    failures: u32,
    #[schemars(with = "Option<String>")]
    failing_since: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    cooling_until: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    next_retry_at: Option<Timestamp>,
}

/// The last push to a receiver.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastDeliveryView {
    #[schemars(with = "String")]
    at: Timestamp,
    #[schemars(with = "OutcomeView")]
    outcome: Outcome,
    /// The receiver's words, or the error's.
    detail: String,
}

/// What came of a push.
#[derive(JsonSchema)]
#[schemars(rename = "Outcome", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OutcomeView {
    Delivered,
    Failed,
    Refused,
    Skipped,
}

/// The configuration in force.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigView {
    /// The file; null if environment and flags were enough.
    pub(super) file: Option<String>,
    #[schemars(with = "String")]
    pub(super) since: Timestamp,
    /// Why the last reload was refused, if it was.
    pub(super) refused: Option<String>,
}

/// Every watched projection.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectionsView {
    pub(super) projections: Vec<ProjectionView>,
}

/// One watched projection.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectionView {
    /// Its key, e.g. `task_assignee?task_id=7`.
    projection: String,
    name: String,
    params: BTreeMap<String, String>,
    /// Whether it has a value, as far as is known.
    present: bool,
    /// When that was first observed; null if never.
    #[schemars(with = "Option<String>")]
    since: Option<Timestamp>,
    /// Why it cannot be read, if it cannot.
    failing: Option<TroubleView>,
}

/// What every receiver has still to be told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingView {
    pub(super) receivers: Vec<PendingReceiverView>,
}

/// What one receiver has still to be told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingReceiverView {
    receiver: String,
    /// By first change, then key.
    changes: Vec<ChangeView>,
}

/// One projection's change, as a push would put it now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeView {
    projection: String,
    name: String,
    params: BTreeMap<String, String>,
    /// `changed`, `appeared` or `removed`.
    #[schemars(with = "String")]
    kind: ograph_dispatcher_actors::model::document::ChangeKind,
    /// What the receiver was last told.
    #[schemars(with = "Value")]
    old: Arc<Value>,
    /// The latest value.
    #[schemars(with = "Value")]
    new: Arc<Value>,
    /// RFC 6902, from old to new.
    patch: Value,
    /// How many distinct changes were folded.
    merged: u64,
    #[schemars(with = "String")]
    first_changed_at: Timestamp,
    #[schemars(with = "String")]
    last_changed_at: Timestamp,
}

/// The last deliveries, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveriesView {
    pub(super) deliveries: Vec<DeliveryView>,
}

/// One delivery.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryView {
    #[schemars(with = "String")]
    at: Timestamp,
    receiver: String,
    batch_id: String,
    /// `available` or `flush`.
    #[schemars(with = "String")]
    reason: ograph_dispatcher_actors::model::document::Reason,
    changes: usize,
    #[schemars(with = "OutcomeView")]
    outcome: Outcome,
    /// The receiver's words, or the error's.
    detail: String,
    took_ms: u64,
}

/// What to flush.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FlushRequest {
    /// Only if there is room.
    #[serde(default)]
    pub(super) when_available: bool,
}

/// What a flush did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FlushView {
    /// How many receivers got something.
    delivered: usize,
    /// One for each receiver that something was pending for.
    batches: Vec<BatchView>,
}

/// What a flush did for one receiver.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchView {
    receiver: String,
    batch_id: String,
    changes: usize,
    #[schemars(with = "OutcomeView")]
    outcome: Outcome,
    /// In words.
    detail: String,
}

/// What a reload did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReloadView {
    /// What is odd about the configuration.
    pub(super) warnings: Vec<ProblemDetail>,
    /// Settings that have changed and take effect at the next start.
    pub(super) after_restart: Vec<&'static str>,
}

/// Something was done, and there is no more to say.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DoneView {
    pub(super) ok: bool,
}

/// Whether it is alive or ready. Nothing here is secret: everybody may ask.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthView {
    pub(super) ok: bool,
    /// The names of the conditions that hold, but do not keep it from its job.
    pub(super) warnings: Vec<&'static str>,
}

/// OGraph's reaction: what it sends does not matter, only that something has changed.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReactionRequest {
    /// The value before.
    #[serde(default)]
    #[expect(dead_code, reason = "the projection is polled all the same")]
    old_value: Value,
    /// The value now.
    #[serde(default)]
    #[expect(dead_code, reason = "the projection is polled all the same")]
    new_value: Value,
}

impl From<&ActorStatus> for ActorView {
    fn from(actor: &ActorStatus) -> Self {
        let last_panic = actor.last_panic.as_ref().map(|panic| PanicView {
            at: panic.at,
            message: panic.message.clone(),
            location: panic.location.clone(),
        });
        Self { state: actor.state, restarts: actor.restarts, last_panic }
    }
}

impl From<&Trouble> for TroubleView {
    fn from(trouble: &Trouble) -> Self {
        let Trouble { error, message, since, failures } = trouble;
        Self { error, message: message.clone(), since: *since, failures: *failures }
    }
}

impl From<&Status> for WatcherView {
    fn from(status: &Status) -> Self {
        let watcher = &status.watcher;
        let error = |(key, trouble): (&ograph_dispatcher_actors::model::key::ProjectionKey, &Trouble)| {
            ProjectionError { projection: key.to_string(), trouble: trouble.into() }
        };
        Self {
            interval_ms: watcher.interval_ms,
            projections: watcher.projections,
            polls: watcher.polls,
            last_sweep_at: watcher.last_poll_at,
            last_sweep_ms: watcher.last_sweep_ms,
            next_poll_at: watcher.next_poll_at,
            errors: watcher.failing.iter().map(error).collect(),
        }
    }
}

impl SchedulerView {
    pub(super) fn new(status: &Status, conditions: &[Condition], now: Timestamp) -> Self {
        let scheduler = &status.scheduler;
        Self {
            state: scheduler.state.map_or("starting", ograph_dispatcher_actors::status::Phase::label),
            since: scheduler.since,
            reason: words::standing(status, conditions, now),
            next_poll_at: scheduler.next_poll_at,
            availability: AvailabilityView {
                available: scheduler.available,
                min_available: scheduler.min_available,
                enough: scheduler.has_room,
                since: scheduler.room_since,
                error: scheduler.error.clone(),
            },
            cooldown_until: status.receivers.iter().filter_map(|receiver| receiver.cooling_until).max(),
        }
    }
}

impl ReceiverView {
    pub(super) fn new(status: &ReceiverStatus, now: Timestamp) -> Self {
        let last = status.last_delivery.clone();
        let last_error = last.as_ref().filter(|last| last.outcome != Outcome::Delivered);
        Self {
            receiver: status.receiver.to_string(),
            reason: words::receiver(status, now),
            pending: status.pending,
            oldest_pending_at: status.oldest_pending_at,
            in_flight: status.in_flight,
            last_error: last_error.map(|last| last.detail.clone()),
            last_delivery: last.map(|LastDelivery { at, outcome, detail }| LastDeliveryView { at, outcome, detail }),
            failures: status.failures,
            failing_since: status.failing_since,
            cooling_until: status.cooling_until,
            next_retry_at: status.next_retry_at,
        }
    }
}

impl From<ProjectionStatus> for ProjectionView {
    fn from(status: ProjectionStatus) -> Self {
        let ProjectionStatus { projection, name, params, present, since, failing } = status;
        let failing = failing.as_ref().map(Into::into);
        Self { projection: projection.to_string(), name, params, present, since, failing }
    }
}

impl From<PendingReceiver> for PendingReceiverView {
    fn from(pending: PendingReceiver) -> Self {
        let changes = pending.changes.into_iter().map(Into::into).collect();
        Self { receiver: pending.receiver.to_string(), changes }
    }
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        Self {
            projection: change.projection.to_string(),
            name: change.name,
            params: change.params,
            kind: change.kind,
            // A patch consists of paths and values, which are always JSON.
            patch: serde_json::to_value(&change.patch).unwrap_or_default(),
            old: change.old,
            new: change.new,
            merged: change.merged,
            first_changed_at: change.first_changed_at,
            last_changed_at: change.last_changed_at,
        }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery { at, receiver, batch_id, reason, changes, outcome, detail, took_ms } = delivery;
        let (receiver, batch_id) = (receiver.to_string(), batch_id.to_string());
        Self { at, receiver, batch_id, reason, changes, outcome, detail, took_ms }
    }
}

impl From<FlushReport> for FlushView {
    fn from(report: FlushReport) -> Self {
        let batches = report.batches.into_iter().map(|batch| BatchView {
            receiver: batch.receiver.to_string(),
            batch_id: batch.batch_id.to_string(),
            changes: batch.changes,
            outcome: batch.outcome,
            detail: batch.detail,
        });
        Self { delivered: report.delivered, batches: batches.collect() }
    }
}
