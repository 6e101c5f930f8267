//! What the scheduler has on its desk: the schedule, the parties, and who waits for what.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    availability::Availability,
    clock::Now,
    messages::{ControlError, Demands, FlushReport},
    model::{
        receiver::ReceiverId,
        schedule::{Room, Schedule, Standing},
        time::Timestamp,
    },
    receivers::Receiver,
    status::{LaneStatus, LastDelivery, SchedulerStatus},
};

/// Everything that one incarnation of the scheduler knows.
pub(super) struct Desk {
    pub(super) schedule: Schedule,
    pub(super) availability: Rc<dyn Availability>,
    pub(super) receivers: BTreeMap<ReceiverId, Rc<dyn Receiver>>,
    /// The earliest timer that is set.
    pub(super) armed: Option<Duration>,
    pub(super) flushes: Vec<PendingFlush>,
    pub(super) standing: Option<Standing>,
    /// Since when it is in this phase.
    pub(super) since: Option<Timestamp>,
    pub(super) last: LastDeliveries,
    /// Whether the last poll found too little room for what is pending.
    pub(super) held: bool,
    /// The newest word on what is pending.
    pub(super) revision: u64,
    /// Flushes that want to know first whether there is room.
    pub(super) asking: Vec<Answer>,
    /// No further push begins…
    pub(super) draining: bool,
    /// …and these want to know when the last one has ended.
    pub(super) drained: Vec<oneshot::Sender<()>>,
    /// Another setup is in force; it is taken over when nothing is under way.
    pub(super) outdated: bool,
}

/// The last push to each receiver.
pub(super) type LastDeliveries = BTreeMap<ReceiverId, Last>;

/// The last push to a receiver, and how many failed since the last success.
pub(super) struct Last {
    pub(super) delivery: LastDelivery,
    pub(super) failures: u32,
    /// When the first of them ended.
    pub(super) failing_since: Option<Timestamp>,
}

/// Where the report of a flush goes.
pub(super) type Answer = oneshot::Sender<Result<FlushReport, ControlError>>;

/// A flush that waits for its pushes.
pub(super) struct PendingFlush {
    /// Receivers that were being served when it came: pushed to as soon as that has ended.
    pub(super) later: Vec<ReceiverId>,
    /// Receivers that it is pushing to.
    pub(super) now: Vec<ReceiverId>,
    pub(super) report: FlushReport,
    pub(super) answer: Answer,
}

impl Desk {
    /// Takes over what is pending, unless something newer is known already.
    pub(super) fn take_demands(&mut self, demands: &Demands) {
        if demands.revision > self.revision {
            self.revision = demands.revision;
            self.schedule.demand(&demands.by_receiver);
        }
    }

    pub(super) fn status(&self, standing: Standing, now: Now) -> SchedulerStatus {
        let wall = |mono: Duration| now.wall + mono.saturating_sub(now.mono);
        let min_available = self.schedule.settings().min_available;
        let (available, error) = match self.schedule.room() {
            Room::Unasked => (None, None),
            Room::Known { free, .. } => (Some(free.slots(min_available)), None),
            Room::Unknown { error, .. } => (None, Some(error)),
        };
        let lanes = self.receivers.keys().map(|id| {
            let last = self.last.get(id);
            let lane = LaneStatus {
                cooling_until: self.schedule.cooling_until(id, now.mono).map(wall),
                next_retry_at: self.schedule.next_retry(id).map(wall),
                in_flight: self.schedule.is_in_flight(id),
                last: last.map(|last| last.delivery.clone()),
                failures: last.map_or(0, |last| last.failures),
                failing_since: last.and_then(|last| last.failing_since),
            };
            (id.clone(), lane)
        });
        SchedulerStatus {
            state: Some(standing.phase),
            since: self.since,
            reason: standing.reason,
            next_poll_at: self.schedule.next_poll(now.mono).map(wall),
            available,
            min_available,
            room_since: self.schedule.room_since(),
            has_room: self.schedule.has_room(),
            error_kind: error.map(|error| error.kind.label()),
            error: error.map(ToString::to_string),
            lanes: lanes.collect(),
        }
    }
}
