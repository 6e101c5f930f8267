//! How many slots the gateway has left, from what it tells and what we have just pushed.

use std::time::Duration;

use serde_json::Value;

/// The lane in which agents run.
const LANE: &str = "main";

/// How long a push of ours is counted although it does not show up. (Lanes and sessions lag up to 4 s.)
const HOLD: Duration = Duration::from_secs(10);

/// What `diagnostics.lanes` and `sessions.list` say at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// How many agents may run at once.
    max: u64,
    /// Those that run or wait in the lane.
    in_lane: u64,
    /// How many sessions are active…
    sessions: u64,
    /// …and their keys, as far as they are listed.
    keys: Vec<String>,
    /// The lane takes nothing new: the gateway is about to stop.
    draining: bool,
}

impl Reading {
    /// Reads the two answers.
    ///
    /// # Errors
    /// The name of what is missing.
    pub(super) fn new(lanes: &Value, sessions: &Value) -> Result<Self, &'static str> {
        let lane = lanes.get("lanes").and_then(Value::as_array).ok_or("lanes")?;
        let lane = lane.iter().find(|lane| lane["lane"] == LANE).ok_or("the lane `main`")?;
        let number = |from: &Value, name: &'static str| from.get(name).and_then(Value::as_u64).ok_or(name);
        let listed = sessions.get("sessions").and_then(Value::as_array);
        let keys = listed.into_iter().flatten().filter_map(|session| session.get("key")?.as_str().map(str::to_owned));
        Ok(Self {
            max: number(lane, "maxConcurrent")?,
            in_lane: number(lane, "activeCount")?.saturating_add(number(lane, "queuedCount")?),
            sessions: number(sessions, "count")?,
            keys: keys.collect(),
            draining: lane["draining"] == true,
        })
    }
}

/// Our own pushes that the gateway may not show yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reservations(Vec<Reservation>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reservation {
    /// Runs in one session follow each other, so that they take one slot together. Unknown for a run in a session of
    /// its own: it is held until the time is up.
    session: Option<String>,
    until: Duration,
}

impl Reservations {
    /// A push of ours takes a slot from `now` on.
    pub(super) fn reserve(&mut self, session: Option<&str>, now: Duration) {
        self.0.retain(|held| held.until > now && (session.is_none() || held.session.as_deref() != session));
        self.0.push(Reservation { session: session.map(str::to_owned), until: now + HOLD });
    }

    /// The free slots: the maximum, less whatever is larger: the lane, or the active sessions with those of ours that
    /// are not among them yet. Never below 0. A reservation that shows up is forgotten.
    pub(super) fn free(&mut self, reading: &Reading, now: Duration) -> u64 {
        let shows = |held: &Reservation| held.session.as_ref().is_some_and(|session| reading.keys.contains(session));
        self.0.retain(|held| held.until > now && !shows(held));
        if reading.draining {
            return 0;
        }
        let ours = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        reading.max.saturating_sub(reading.in_lane.max(reading.sessions.saturating_add(ours)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn reading(max: u64, in_lane: u64, keys: &[&str]) -> Reading {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Reading { max, in_lane, sessions: keys.len() as u64, keys, draining: false }
    }

    #[test]
    fn the_larger_of_lane_and_sessions_counts() {
        let free = |max, in_lane, keys: &[&str]| Reservations::default().free(&reading(max, in_lane, keys), secs(0));
        assert_eq!(free(4, 0, &[]), 4);
        assert_eq!(free(4, 3, &["a"]), 1);
        assert_eq!(free(4, 0, &["a", "b"]), 2);
        assert_eq!(free(4, 9, &[]), 0);
        assert_eq!(free(0, 0, &[]), 0);
    }

    #[test]
    fn a_lane_that_drains_has_no_room() {
        let draining = Reading { draining: true, ..reading(4, 0, &[]) };
        assert_eq!(Reservations::default().free(&draining, secs(0)), 0);
    }

    #[test]
    fn a_push_takes_its_slot_until_it_shows_up() {
        let mut ours = Reservations::default();
        ours.reserve(Some("s"), secs(100));
        assert_eq!(ours.free(&reading(4, 0, &[]), secs(101)), 3);
        assert_eq!(ours.free(&reading(4, 0, &["other"]), secs(102)), 2);
        assert_eq!(ours.free(&reading(4, 2, &["other"]), secs(103)), 2, "the lane shows it already: not counted twice");
        assert_eq!(ours.free(&reading(4, 2, &["other", "s"]), secs(104)), 2);
        assert_eq!(ours.free(&reading(4, 0, &[]), secs(105)), 4, "it showed up and ended");
    }

    #[test]
    fn a_push_that_never_shows_up_is_forgotten_after_ten_seconds() {
        for session in [Some("s"), None] {
            let mut ours = Reservations::default();
            ours.reserve(session, secs(100));
            assert_eq!(ours.free(&reading(4, 0, &[]), Duration::from_millis(109_999)), 3);
            assert_eq!(ours.free(&reading(4, 0, &[]), secs(110)), 4);
        }
    }

    #[test]
    fn pushes_into_one_session_take_one_slot() {
        let mut ours = Reservations::default();
        for at in 0..5 {
            ours.reserve(Some("s"), secs(at));
        }
        assert_eq!(ours.free(&reading(4, 0, &[]), secs(5)), 3);
        ours.reserve(None, secs(5));
        ours.reserve(None, secs(5));
        assert_eq!(ours.free(&reading(4, 0, &[]), secs(5)), 1);
    }

    #[test]
    fn the_gateways_answers_are_read() {
        let lanes = json!({"lanes": [
            {"lane": "cron", "activeCount": 9, "queuedCount": 9, "maxConcurrent": 9},
            {"lane": "main", "activeCount": 2, "queuedCount": 1, "maxConcurrent": 4, "draining": false},
        ], "dynamic": null});
        let sessions = json!({"count": 2, "sessions": [{"key": "agent:main:a"}, {"key": 7}]});
        let expected =
            Reading { max: 4, in_lane: 3, sessions: 2, keys: vec!["agent:main:a".to_owned()], draining: false };
        assert_eq!(Reading::new(&lanes, &sessions), Ok(expected));
        assert_eq!(Reading::new(&json!({}), &sessions), Err("lanes"));
        assert_eq!(Reading::new(&json!({"lanes": []}), &sessions), Err("the lane `main`"));
        assert_eq!(Reading::new(&json!({"lanes": [{"lane": "main"}]}), &sessions), Err("maxConcurrent"));
        assert_eq!(Reading::new(&lanes, &json!({"count": -1})), Err("count"));
    }

    proptest! {
        #[test]
        fn free_slots_stay_within_bounds(max: u64, in_lane: u64, sessions: u64, ours in 0u64..20) {
            let reading = Reading { max, in_lane, sessions, keys: Vec::new(), draining: false };
            let mut reservations = Reservations::default();
            for _ in 0..ours {
                reservations.reserve(None, secs(0));
            }
            let free = reservations.free(&reading, secs(1));
            prop_assert!(free <= max.saturating_sub(in_lane.max(sessions)));
            prop_assert_eq!(free, max.saturating_sub(in_lane.max(sessions.saturating_add(ours))));
        }
    }
}
