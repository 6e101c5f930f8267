//! How often an actor may panic, as in OTP: a restart intensity.

use std::{collections::VecDeque, time::Duration};

/// How often the actors may be restarted before the dispatcher gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// So many restarts of one actor…
    pub max_restarts: usize,
    /// …within this time are allowed; one more escalates.
    pub within: Duration,
    /// The delay before the first restart; doubled with every further one.
    pub delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Default for RestartPolicy {
    /// 5 restarts in 30 s, after 10 ms, 20 ms, 40 ms, …
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(30),
            delay: Duration::from_millis(10),
            max_delay: Duration::from_secs(1),
        }
    }
}

/// What to do with an actor that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Restart it after this delay.
    Restart(Duration),
    /// Give up: something is wrong that a restart does not mend.
    GiveUp,
}

/// Counts one actor's restarts within the policy's window.
#[derive(Clone, Debug)]
pub(crate) struct Intensity {
    policy: RestartPolicy,
    /// When it was restarted, oldest first; never longer than `max_restarts`.
    recent: VecDeque<Duration>,
}

impl Intensity {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::new() }
    }

    /// The verdict on a panic at `now` (monotonic).
    pub(crate) fn judge(&mut self, now: Duration) -> Verdict {
        while self.recent.front().is_some_and(|at| *at + self.policy.within <= now) {
            self.recent.pop_front();
        }
        let recent = self.recent.len();
        if recent >= self.policy.max_restarts {
            return Verdict::GiveUp;
        }
        self.recent.push_back(now);
        let doubled = self.policy.delay.saturating_mul(1 << recent.min(20));
        Verdict::Restart(doubled.min(self.policy.max_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        max_restarts: 3,
        within: Duration::from_secs(30),
        delay: Duration::from_millis(10),
        max_delay: Duration::from_millis(25),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_delay_grows_until_the_intensity_is_reached() {
        let mut intensity = Intensity::new(POLICY);
        assert_eq!(intensity.judge(at(1)), Verdict::Restart(Duration::from_millis(10)));
        assert_eq!(intensity.judge(at(2)), Verdict::Restart(Duration::from_millis(20)));
        assert_eq!(intensity.judge(at(3)), Verdict::Restart(Duration::from_millis(25)));
        assert_eq!(intensity.judge(at(4)), Verdict::GiveUp);
    }

    #[test]
    fn old_restarts_are_forgotten() {
        let mut intensity = Intensity::new(POLICY);
        for second in [1, 2, 3] {
            intensity.judge(at(second));
        }
        assert_eq!(intensity.judge(at(31)), Verdict::Restart(Duration::from_millis(25)));
        assert_eq!(intensity.judge(at(31)), Verdict::GiveUp);
        assert_eq!(intensity.judge(at(100)), Verdict::Restart(Duration::from_millis(10)));
    }
}
