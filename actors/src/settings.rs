//! What the actor system can be told: plain values, validated by whoever makes them.

use std::time::Duration;

use crate::model::key::Projection;

/// Everything that the actors need to know besides their source, availability and receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The projections to watch; their keys are unique.
    pub projections: Vec<Projection>,
    /// How the watcher polls.
    pub watch: WatchSettings,
    /// How the scheduler polls and pushes.
    pub schedule: ScheduleSettings,
}

impl Settings {
    /// The default settings for watching `projections`.
    #[must_use]
    pub fn watching(projections: Vec<Projection>) -> Self {
        Self { projections, watch: WatchSettings::default(), schedule: ScheduleSettings::default() }
    }
}

/// How the watcher polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// The interval between two polls of a projection while nothing changes; above zero.
    pub idle: Duration,
    /// The interval after a change, until a poll finds nothing new; above zero.
    pub active: Duration,
    /// Whose interval a change shortens.
    pub active_scope: ActiveScope,
    /// Whether the first value ever seen is a change.
    pub first_seen: FirstSeen,
    /// How many projections are polled at the same time; at least 1.
    pub concurrency: usize,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            active: Duration::from_secs(5),
            active_scope: ActiveScope::All,
            first_seen: FirstSeen::Baseline,
            concurrency: 16,
        }
    }
}

/// Whose interval a change shortens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveScope {
    /// One change makes every projection poll at the active pace.
    All,
    /// Each projection adapts alone.
    Projection,
}

/// What the first value ever seen of a projection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSeen {
    /// It is the baseline: nobody is told. So is the absence of a projection that stays away from the start; one that
    /// appears after that is news.
    Baseline,
    /// It is a change from nothing.
    Change,
}

/// How the scheduler polls and pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// The interval between two polls of the availability while nothing can be pushed; above zero.
    pub idle: Duration,
    /// The interval while something waits for room; above zero.
    pub active: Duration,
    /// How long a receiver is left alone after a push, counted from its beginning.
    pub cooldown: Duration,
    /// How many slots must be free for a push.
    pub min_available: u64,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            active: Duration::from_secs(5),
            cooldown: Duration::from_secs(60),
            min_available: 2,
        }
    }
}
