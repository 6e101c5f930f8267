//! When the availability is polled and who is pushed to.
//!
//! Every receiver has a lane of its own: one that cools down, fails or is being served never holds another back. A lane
//! is ready when something is pending for it, nothing is on its way, and its cooldown and retry delay are over. While a
//! lane is ready the availability is polled at the active pace; the first answer with enough free slots pushes to every
//! ready lane. A lane that has just become ready is asked for at once.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::{
    availability::Free,
    backoff::{Backoff, Streak},
    receiver::ReceiverId,
    time::Timestamp,
};
use crate::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    clock::Now,
    settings::ScheduleSettings,
};

/// The delays between two attempts at a failing receiver.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// A push that takes longer is slow: its cooldown runs from here on.
const SLOW: Duration = Duration::from_secs(2);

/// How long a receiver must have been well before its failures are forgotten.
const RETRY_QUIET: Duration = Duration::from_secs(300);

/// The scheduler's state. Times are monotonic, since the clock's start.
#[derive(Debug)]
pub struct Schedule {
    settings: ScheduleSettings,
    retry: Backoff,
    lanes: BTreeMap<ReceiverId, Lane>,
    paused: bool,
    polling: bool,
    last_poll: Option<Duration>,
    /// Whether the last poll was made for lanes that are still waiting for it.
    asked: bool,
    room: Room,
    /// Since when there is room, or is none, or nothing is known.
    room_since: Option<Timestamp>,
}

/// What is known of the free slots.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Room {
    /// Not asked yet.
    #[default]
    Unasked,
    /// The last answer.
    Known {
        /// What it said.
        free: Free,
        /// When it came.
        at: Timestamp,
    },
    /// The last poll failed: not available.
    Unknown {
        /// Why.
        error: AvailabilityError,
        /// Since when polls fail.
        since: Timestamp,
        /// How many have failed in a row.
        failures: u32,
    },
}

/// What is pending for a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many changes the batch in flight does not tell already.
    pub waiting: usize,
    /// Names the content: it grows with every change.
    pub generation: u64,
    /// Whether a lease would repeat the last batch, with its id.
    pub repeats: bool,
}

/// Whom a flush concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushTargets {
    /// Can be pushed to now.
    pub ready: Vec<ReceiverId>,
    /// Are being pushed to, and more has come in meanwhile: to be pushed to again.
    pub busy: Vec<ReceiverId>,
    /// Are being told everything right now.
    pub served: Vec<ReceiverId>,
}

/// What became of a delivery, as far as the schedule is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The receiver has it, or the attempt was all that was promised: cool down.
    Yes,
    /// It failed; the next attempt comes after a backoff, not before `after`.
    Failed {
        /// The receiver's `Retry-After`.
        after: Option<Duration>,
        /// Whether it may have arrived all the same. New content then waits for the cooldown.
        maybe: bool,
    },
    /// The receiver refuses the content for good.
    Refused,
}

#[derive(Clone, Debug)]
struct Lane {
    demand: Demand,
    in_flight: bool,
    /// When the last push began.
    pushed_at: Duration,
    /// New content is not pushed before.
    cooling_until: Option<Duration>,
    /// Nothing is tried before.
    retry_at: Option<Duration>,
    failures: Streak,
    /// The content that was refused.
    refused: Option<u64>,
}

/// The scheduler's phase, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: Phase,
    /// Why nothing is sent now, or what is happening.
    pub reason: String,
}

/// What the scheduler is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Nothing is pending.
    Idle,
    /// Something is pending and waits for room or for a retry.
    Waiting,
    /// A push is under way.
    Pushing,
    /// A push was made a short while ago.
    Cooldown,
    /// Pushing was stopped by hand.
    Paused,
}

impl Phase {
    /// The word in status and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Pushing => "pushing",
            Self::Cooldown => "cooldown",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Schedule {
    /// A schedule for these receivers, none of which has been served.
    #[must_use]
    pub fn new(settings: ScheduleSettings, receivers: impl IntoIterator<Item = ReceiverId>) -> Self {
        Self {
            settings,
            retry: Backoff::new(RETRY_BASE, RETRY_MAX, 0.2).expect("the constants are valid"),
            lanes: receivers.into_iter().map(|id| (id, Lane::default())).collect(),
            paused: false,
            polling: false,
            last_poll: None,
            asked: false,
            room: Room::Unasked,
            room_since: None,
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &ScheduleSettings {
        &self.settings
    }

    /// Takes over what was stored: the pause and the cooldowns. A cooldown never lasts longer than configured, even if
    /// the wall clock jumped back meanwhile.
    pub fn restore(&mut self, paused: bool, cooldowns: impl IntoIterator<Item = (ReceiverId, Timestamp)>, now: Now) {
        self.paused = paused;
        let longest = self.longest_cooldown();
        for (receiver, until) in cooldowns {
            if let Some(lane) = self.lanes.get_mut(&receiver) {
                lane.cooling_until = Some(now.mono + until.since(now.wall).min(longest));
            }
        }
        align(self.lanes.values_mut().filter_map(|lane| lane.cooling_until.as_mut()));
    }

    /// Takes over what is pending for each receiver.
    pub fn demand(&mut self, demands: &BTreeMap<ReceiverId, Demand>) {
        for (receiver, lane) in &mut self.lanes {
            lane.demand = demands.get(receiver).copied().unwrap_or_default();
            if lane.refused.is_some_and(|generation| generation != lane.demand.generation) {
                lane.refused = None;
            }
        }
    }

    /// Stops or resumes pushing. Flushes are pushed all the same.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// What is known of the free slots.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// When the availability is to be polled next; `None` while a poll is running.
    #[must_use]
    pub fn next_poll(&self, now: Duration) -> Option<Duration> {
        if self.polling {
            return None;
        }
        let Some(last) = self.last_poll else { return Some(now) };
        let pause = self.pause_after_failure();
        if !self.paused && self.lanes.values().any(|lane| lane.is_ready(now)) {
            return Some(if self.asked { last + self.settings.active.max(pause) } else { now });
        }
        let idle = last + self.settings.idle.max(pause);
        let ready = self.lanes.values().filter_map(Lane::ready_at).min().filter(|_| !self.paused);
        Some(ready.map_or(idle, |ready| ready.min(idle)))
    }

    /// A poll of the availability starts.
    pub fn poll_started(&mut self, now: Duration) {
        self.polling = true;
        self.last_poll = Some(now);
        self.asked = self.lanes.values().any(|lane| lane.is_ready(now));
    }

    /// A poll of the availability ended. The receivers to push to now.
    pub fn poll_ended(&mut self, answer: Result<Free, AvailabilityError>, now: Now) -> Vec<ReceiverId> {
        self.polling = false;
        self.last_poll = Some(now.mono);
        let before = (self.has_room(), matches!(self.room, Room::Known { .. }));
        self.room = match (answer, &self.room) {
            (Ok(free), _) => Room::Known { free, at: now.wall },
            (Err(error), Room::Unknown { since, failures, .. }) => {
                Room::Unknown { error, since: *since, failures: failures.saturating_add(1) }
            }
            (Err(error), _) => Room::Unknown { error, since: now.wall, failures: 1 },
        };
        if self.room_since.is_none() || before != (self.has_room(), matches!(self.room, Room::Known { .. })) {
            self.room_since = Some(now.wall);
        }
        if self.paused || !self.has_room() {
            return Vec::new();
        }
        self.lanes.iter().filter(|(_, lane)| lane.is_ready(now.mono)).map(|(id, _)| id.clone()).collect()
    }

    /// Since when there is room, or is none, or nothing is known; `None` before the first poll.
    #[must_use]
    pub fn room_since(&self) -> Option<Timestamp> {
        self.room_since
    }

    /// Whether the last poll found enough free slots.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(&self.room, Room::Known { free, .. } if free.is_enough(self.settings.min_available))
    }

    /// Whom a flush concerns.
    #[must_use]
    pub fn flush_targets(&self) -> FlushTargets {
        let mut targets = FlushTargets::default();
        for (id, lane) in &self.lanes {
            match (lane.in_flight, lane.demand.waiting > 0) {
                (false, true) => targets.ready.push(id.clone()),
                (true, true) => targets.busy.push(id.clone()),
                (true, false) => targets.served.push(id.clone()),
                (false, false) => {}
            }
        }
        targets
    }

    /// Whether a push to anybody is under way.
    #[must_use]
    pub fn is_pushing(&self) -> bool {
        self.lanes.values().any(|lane| lane.in_flight)
    }

    /// Whether a poll of the availability is running.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.polling
    }

    /// A push to `receiver` begins.
    pub fn push_started(&mut self, receiver: &ReceiverId, now: Duration) {
        if let Some(lane) = self.lanes.get_mut(receiver) {
            lane.in_flight = true;
            lane.pushed_at = now;
            self.asked = false;
        }
    }

    /// Whether a push to `receiver` is under way.
    #[must_use]
    pub fn is_in_flight(&self, receiver: &ReceiverId) -> bool {
        self.lanes.get(receiver).is_some_and(|lane| lane.in_flight)
    }

    /// A push could not begin: nothing was leased. What is pending waits for the next poll at the active pace.
    pub fn push_abandoned(&mut self, receiver: &ReceiverId) {
        if let Some(lane) = self.lanes.get_mut(receiver) {
            lane.in_flight = false;
            self.asked = true;
        }
    }

    /// A push ended, and [`demand`](Self::demand) has been told what is pending since. `random` (0 to 1) spreads retries.
    pub fn push_ended(&mut self, receiver: &ReceiverId, delivered: Delivered, now: Duration, random: f64) {
        let cooldown = Some(now + self.cooldown_left(receiver, now));
        let Some(lane) = self.lanes.get_mut(receiver) else { return };
        lane.in_flight = false;
        let began = lane.pushed_at;
        match delivered {
            Delivered::Yes => {
                lane.failures.eased(now);
                lane.retry_at = None;
                lane.refused = None;
                lane.cooling_until = cooldown;
            }
            Delivered::Failed { after, maybe } => {
                let failures = lane.failures.failed(now);
                let delay = self.retry.delay(failures, random).max(after.unwrap_or(Duration::ZERO));
                lane.retry_at = Some(now + delay);
                lane.cooling_until = cooldown.filter(|_| maybe);
            }
            Delivered::Refused => {
                lane.retry_at = None;
                lane.cooling_until = None;
                // What came in meanwhile is other content, and may be welcome.
                lane.refused = lane.demand.repeats.then_some(lane.demand.generation);
            }
        }
        align(
            self.lanes
                .values_mut()
                .filter(|lane| lane.pushed_at == began)
                .filter_map(|lane| lane.cooling_until.as_mut()),
        );
    }

    /// How long the cooldown lasts after a push to `receiver` that ends `now`.
    ///
    /// It counts from the end of the push, because only then it is certain that the receiver was disturbed before; but a
    /// slow receiver is not given more than [`SLOW`] for that, so that all receivers of a push stay in step.
    #[must_use]
    pub fn cooldown_left(&self, receiver: &ReceiverId, now: Duration) -> Duration {
        let began = self.lanes.get(receiver).map_or(now, |lane| lane.pushed_at);
        let counted_from = now.min(began + SLOW.min(self.settings.cooldown));
        (counted_from + self.settings.cooldown).saturating_sub(now)
    }

    /// The longest that a cooldown can last, counted from the beginning of a push.
    #[must_use]
    pub fn longest_cooldown(&self) -> Duration {
        self.settings.cooldown + SLOW.min(self.settings.cooldown)
    }

    /// When a failing receiver is tried again.
    #[must_use]
    pub fn next_retry(&self, receiver: &ReceiverId) -> Option<Duration> {
        self.lanes.get(receiver).filter(|lane| lane.demand.waiting > 0).and_then(|lane| lane.retry_at)
    }

    /// Until when a receiver is left alone after a push.
    #[must_use]
    pub fn cooling_until(&self, receiver: &ReceiverId, now: Duration) -> Option<Duration> {
        self.lanes.get(receiver).and_then(|lane| lane.cooling_until).filter(|until| *until > now)
    }

    /// Where things stand: the answer to "why was nothing sent?".
    #[must_use]
    pub fn standing(&self, now: Now) -> Standing {
        let wall = |mono: Duration| now.wall + mono.saturating_sub(now.mono);
        let waiting: usize = self.lanes.values().map(|lane| lane.demand.waiting).max().unwrap_or(0);
        let changes = counted(waiting, "change");
        let standing = |phase, reason| Standing { phase, reason };
        let names = |pick: &dyn Fn(&Lane) -> bool| {
            let names: Vec<_> = self.lanes.iter().filter(|(_, lane)| pick(lane)).map(|(id, _)| id.as_str()).collect();
            names.join(", ")
        };
        if self.lanes.values().any(|lane| lane.in_flight) {
            return standing(Phase::Pushing, format!("delivering to {}", names(&|lane| lane.in_flight)));
        }
        if self.paused {
            return standing(Phase::Paused, format!("paused by hand; {changes} pending"));
        }
        if self.lanes.values().any(|lane| lane.is_ready(now.mono)) {
            return standing(Phase::Waiting, format!("{changes} pending: {}", self.room_in_words()));
        }
        let pending = || self.lanes.values().filter(|lane| lane.demand.waiting > 0);
        if pending().any(|lane| lane.retry_at.is_some_and(|at| at > now.mono)) {
            let next = pending().filter_map(|lane| lane.retry_at).min().unwrap_or(now.mono);
            let who = names(&|lane| lane.demand.waiting > 0 && lane.retry_at.is_some());
            return standing(Phase::Waiting, format!("{who} failing; next attempt at {}", wall(next)));
        }
        if let Some(until) = self.lanes.values().filter_map(|lane| lane.cooling_until).filter(|at| *at > now.mono).max()
        {
            let pending = if waiting > 0 { format!("; {changes} pending") } else { String::new() };
            return standing(Phase::Cooldown, format!("cooling down until {}{pending}", wall(until)));
        }
        if waiting > 0 {
            let who = names(&|lane| lane.refused.is_some());
            return standing(
                Phase::Waiting,
                format!("{who} refuses the batch; waiting for new content or configuration"),
            );
        }
        standing(Phase::Idle, "nothing is pending".to_owned())
    }

    /// What is known of the free slots, in words.
    #[must_use]
    pub fn room_in_words(&self) -> String {
        let needed = self.settings.min_available;
        match &self.room {
            Room::Unasked => "the availability has not been asked for yet".to_owned(),
            Room::Known { free: Free::Slots(slots), .. } => format!("{slots} of {needed} needed slots free"),
            Room::Known { free: Free::Room(true), .. } => "there is room".to_owned(),
            Room::Known { free: Free::Room(false), .. } => "the gateway is busy".to_owned(),
            Room::Unknown { error, .. } => format!("availability unknown: {error}"),
        }
    }

    /// How long to leave a failing gateway alone: doubled with every failure, up to the idle interval.
    fn pause_after_failure(&self) -> Duration {
        let Room::Unknown { error, failures, .. } = &self.room else { return Duration::ZERO };
        let slowest = self.settings.idle.max(self.settings.active);
        let doubled = self.settings.active.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(slowest);
        let refused = matches!(error.kind, AvailabilityErrorKind::Unauthorized | AvailabilityErrorKind::NotFound);
        let pause = if refused { slowest } else { doubled };
        pause.max(error.retry_after.unwrap_or(Duration::ZERO))
    }
}

/// Lets the cooldowns that end at about the same time end together: the receivers of one push get the next one together.
fn align<'a>(cooldowns: impl Iterator<Item = &'a mut Duration>) {
    let mut cooldowns: Vec<_> = cooldowns.collect();
    let last = cooldowns.iter().map(|until| **until).max().unwrap_or_default();
    for until in cooldowns.iter_mut().filter(|until| ***until + SLOW >= last) {
        **until = last;
    }
}

/// `1 change`, `2 changes`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            demand: Demand::default(),
            in_flight: false,
            pushed_at: Duration::ZERO,
            cooling_until: None,
            retry_at: None,
            failures: Streak::new(RETRY_QUIET),
            refused: None,
        }
    }
}

impl Lane {
    fn is_ready(&self, now: Duration) -> bool {
        self.ready_at().is_some_and(|at| at <= now)
    }

    /// When it becomes ready, as things stand.
    fn ready_at(&self) -> Option<Duration> {
        let wants = self.demand.waiting > 0 && !self.in_flight && self.refused.is_none();
        // Repeating the very same batch is the rest of the last push, not a new one: only the backoff counts.
        let cooling = self.cooling_until.filter(|_| !self.demand.repeats);
        wants.then(|| cooling.max(self.retry_at).unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests;
