//! When each projection is polled next.
//!
//! A projection is polled at the idle pace; a change makes it (or all of them) poll at the active pace until a poll
//! finds nothing new. One that fails backs off alone. One that hangs may hold only a share of the concurrent polls, so
//! that it never delays the healthy ones. When the token is refused for all of them, a single one probes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{backoff::Backoff, key::ProjectionKey};
use crate::{
    settings::{ActiveScope, WatchSettings},
    source::SourceErrorKind,
};

/// How many polls in a row must find a projection gone before it counts as removed.
pub const POLLS_UNTIL_REMOVED: u32 = 3;

/// How much longer than the idle interval a failing projection is left alone at most.
const MAX_BACKOFF_IN_IDLE_INTERVALS: u32 = 10;

/// Decides which projections to poll when. Times are monotonic, since the clock's start.
#[derive(Debug)]
pub struct PollPlan {
    settings: WatchSettings,
    backoff: Backoff,
    items: BTreeMap<ProjectionKey, Item>,
    /// The number of the next poll; polls are numbered in the order in which they start.
    next_poll: u64,
    /// When the last change was seen, for [`ActiveScope::All`].
    last_change: Option<Duration>,
    /// While the token is refused for every projection: when the next probe may start, and how many were refused.
    gate: Option<(Duration, u32)>,
}

#[derive(Debug)]
struct Item {
    due: Duration,
    /// The poll that runs now: its number and when it started.
    running: Option<(u64, Duration)>,
    /// That poll was answered, and what it found is being reported.
    answered: bool,
    /// The last poll that ended.
    completed: Option<u64>,
    last: Last,
    failures: u32,
    /// The first poll of an unbroken row that found it gone, and how many there were.
    absent: Option<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Never,
    Present,
    Absent,
    Failed(SourceErrorKind),
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value: a new one, or the one that was known.
    Value {
        /// Whether it is a change.
        changed: bool,
    },
    /// That the projection does not exist (now).
    Nothing,
    /// An error.
    Error {
        /// Its class.
        kind: SourceErrorKind,
        /// How long the source asked us to stay away.
        retry_after: Option<Duration>,
    },
}

/// A promise that every projection has been polled after a certain moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl PollPlan {
    /// A plan under which every projection is due at once.
    #[must_use]
    pub fn new(settings: WatchSettings, keys: impl IntoIterator<Item = ProjectionKey>, now: Duration) -> Self {
        let mut plan = Self {
            settings,
            backoff: backoff(&settings),
            items: BTreeMap::new(),
            next_poll: 1,
            last_change: None,
            gate: None,
        };
        plan.reconfigure(settings, keys, now);
        plan
    }

    /// Takes over other settings and projections. Those that stay keep their state; new ones are due at once.
    pub fn reconfigure(
        &mut self,
        settings: WatchSettings,
        keys: impl IntoIterator<Item = ProjectionKey>,
        now: Duration,
    ) {
        let keys: BTreeSet<_> = keys.into_iter().collect();
        self.settings = settings;
        self.backoff = backoff(&settings);
        self.gate = None;
        self.items.retain(|key, _| keys.contains(key));
        for key in keys {
            let item = self.items.entry(key).or_insert(Item {
                due: now,
                running: None,
                answered: false,
                completed: None,
                last: Last::Never,
                failures: 0,
                absent: None,
            });
            item.due = item.due.min(now + settings.idle);
        }
    }

    /// Starts the polls that are due, as far as the concurrency allows. The same projection is never polled twice at
    /// once.
    pub fn start_due(&mut self, now: Duration) -> Vec<ProjectionKey> {
        let limit = self.settings.concurrency.max(1);
        let (running, slow) = self.running();
        let mut slots = limit.saturating_sub(running);
        let mut slow_slots = (limit / 4).max(1).saturating_sub(slow);
        if let Some((until, _)) = self.gate {
            slots = if now < until || running > 0 { 0 } else { 1 };
        }
        let mut due: Vec<_> =
            self.items.iter_mut().filter(|(_, item)| item.running.is_none() && item.due <= now).collect();
        due.sort_by_key(|(_, item)| (item.is_slow(), item.due));
        let mut started = Vec::new();
        for (key, item) in due {
            if slots == 0 {
                break;
            }
            if item.is_slow() {
                if slow_slots == 0 {
                    break;
                }
                slow_slots -= 1;
            }
            slots -= 1;
            item.running = Some((self.next_poll, now));
            self.next_poll += 1;
            started.push(key.clone());
        }
        started
    }

    /// When [`start_due`](Self::start_due) has something to do next; `None` until a running poll has ended.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Duration> {
        let (running, slow) = self.running();
        let gate = self.gate.map(|(until, _)| until);
        if running >= self.settings.concurrency.max(1) || (gate.is_some() && running > 0) {
            return None;
        }
        let slow_full = slow >= (self.settings.concurrency / 4).max(1);
        let due = self
            .items
            .values()
            .filter(|item| item.running.is_none() && !(slow_full && item.is_slow()))
            .map(|item| item.due)
            .min()?;
        Some(due.max(gate.unwrap_or(due)))
    }

    /// How many polls are running, and how many of them are likely to be slow.
    fn running(&self) -> (usize, usize) {
        let running = self.items.values().filter(|item| item.running.is_some() && !item.answered);
        running.fold((0, 0), |(all, slow), item| (all + 1, slow + usize::from(item.is_slow())))
    }

    /// The poll of `key` was answered; it ends, by [`finish`](Self::finish), when the answer has been reported. Until
    /// then it is not polled again, but others may take its place.
    pub fn answered(&mut self, key: &ProjectionKey) {
        if let Some(item) = self.items.get_mut(key) {
            item.answered = item.running.is_some();
        }
    }

    /// The interval that applies to a projection that has no trouble, as seen `now`.
    #[must_use]
    pub fn interval(&self, now: Duration) -> Duration {
        match self.last_change {
            Some(change) if now < change + self.settings.active => self.settings.active,
            _ => self.settings.idle,
        }
    }

    /// Ends a poll of `key` and plans the next one. `random` (0 to 1) spreads retries. A projection that is no longer
    /// watched is ignored.
    pub fn finish(&mut self, key: &ProjectionKey, found: Found, now: Duration, random: f64) {
        let settings = self.settings;
        let Some(item) = self.items.get_mut(key) else { return };
        let Some((number, started)) = item.running.take() else { return };
        item.answered = false;
        item.completed = Some(number);
        match found {
            Found::Error { kind, retry_after } => {
                item.last = Last::Failed(kind);
                item.failures = item.failures.saturating_add(1);
                // Errors between the absences look like an outage, not like a removal.
                item.absent = None;
                let delay = self.backoff.delay(item.failures, random).max(retry_after.unwrap_or(Duration::ZERO));
                let patient = matches!(kind, SourceErrorKind::Unauthorized | SourceErrorKind::RateLimited);
                item.due = now + if patient { delay.max(settings.idle) } else { delay };
            }
            Found::Value { .. } | Found::Nothing => {
                let nothing = found == Found::Nothing;
                item.last = if nothing { Last::Absent } else { Last::Present };
                item.absent = nothing.then(|| item.absent.map_or((number, 1), |(first, polls)| (first, polls + 1)));
                item.failures = 0;
                let changed = matches!(found, Found::Value { changed: true });
                let active = match settings.active_scope {
                    ActiveScope::Projection => changed,
                    ActiveScope::All => changed || self.last_change.is_some_and(|change| change >= started),
                };
                item.due = now + if active { settings.active } else { settings.idle };
                if changed {
                    self.saw_change(now);
                }
            }
        }
        self.mind_the_gate(found, now, random);
    }

    /// Like a poll that found a change, for one that was reported by other means (a confirmed removal).
    pub fn saw_change(&mut self, now: Duration) {
        self.last_change = Some(now);
        if self.settings.active_scope == ActiveScope::All {
            for item in self.items.values_mut().filter(|item| item.failures == 0) {
                item.due = item.due.min(now + self.settings.active);
            }
        }
    }

    /// Whether a projection that its source no longer has may be believed to be gone: it stayed away for
    /// [`POLLS_UNTIL_REMOVED`] polls, and some other projection has been there meanwhile. Without such a witness it
    /// looks like an outage; a projection that is watched alone needs none.
    #[must_use]
    pub fn is_gone(&self, key: &ProjectionKey) -> bool {
        let Some((since, polls)) = self.items.get(key).and_then(|item| item.absent) else { return false };
        let witnessed = self.items.len() == 1
            || self
                .items
                .values()
                .any(|item| item.last == Last::Present && item.completed.is_some_and(|number| number > since));
        polls >= POLLS_UNTIL_REMOVED && witnessed
    }

    /// Makes every projection due now, failing ones too, and again after a poll that already runs.
    pub fn request_all(&mut self, now: Duration) -> Ticket {
        self.gate = None;
        for item in self.items.values_mut() {
            item.due = now;
        }
        Ticket(self.next_poll)
    }

    /// Whether every projection has been polled since `ticket` was given out.
    #[must_use]
    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.items.values().all(|item| item.completed.is_some_and(|number| number >= ticket.0))
    }

    /// A poll that started before the request is followed by another one at once.
    pub fn repeat_for(&mut self, ticket: Ticket, now: Duration) {
        for item in self.items.values_mut() {
            if item.running.is_none() && item.completed.is_none_or(|number| number < ticket.0) {
                item.due = now;
            }
        }
    }

    /// Closes the gate when every projection is refused; only an answer opens it.
    fn mind_the_gate(&mut self, found: Found, now: Duration, random: f64) {
        let refused = Last::Failed(SourceErrorKind::Unauthorized);
        if !matches!(found, Found::Error { .. }) {
            if self.gate.take().is_some() {
                for item in self.items.values_mut().filter(|item| item.last == refused) {
                    item.due = now;
                }
            }
        } else if self.gate.is_some() || self.items.values().all(|item| item.last == refused) {
            let refusals = self.gate.map_or(0, |(_, refusals)| refusals).saturating_add(1);
            let delay = self.backoff.delay(refusals, random).max(self.settings.idle);
            self.gate = Some((now + delay, refusals));
        }
    }
}

impl Item {
    /// Whether its last poll took all the time there was: it may do so again.
    fn is_slow(&self) -> bool {
        self.last == Last::Failed(SourceErrorKind::Timeout)
    }
}

fn backoff(settings: &WatchSettings) -> Backoff {
    let max = settings.idle.max(settings.active).saturating_mul(MAX_BACKOFF_IN_IDLE_INTERVALS);
    let base = settings.active.min(settings.idle).max(Duration::from_millis(1));
    Backoff::new(base, max.max(base), 0.2).expect("the base is above zero and not above the maximum")
}

#[cfg(test)]
mod tests;
