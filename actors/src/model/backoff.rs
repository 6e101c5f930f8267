//! Backoff: how long to stay away from a peer that fails, and when to trust it again.

use std::time::Duration;

/// How long to wait after so many failures in a row: `base`, doubled with every failure up to `max`, and then shortened
/// at random so that many waiters do not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    /// From 0 to 1.
    jitter: f64,
}

/// Values that make no backoff.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidBackoff {
    /// Without a base every delay would be zero.
    #[error("the backoff's base must be longer than zero")]
    ZeroBase,
    /// The maximum is below the base.
    #[error("the backoff's maximum ({max:?}) is shorter than its base ({base:?})")]
    MaxBelowBase {
        /// The base.
        base: Duration,
        /// The maximum.
        max: Duration,
    },
    /// The jitter is no ratio.
    #[error("the backoff's jitter ({0}) is not between 0 and 1")]
    Jitter(f64),
}

impl Backoff {
    /// A backoff from `base` to `max`, of which the share `jitter` is random: 0 for none, 1 for all of the delay.
    ///
    /// # Errors
    /// If `base` is zero, `max` below it, or `jitter` not between 0 and 1.
    pub fn new(base: Duration, max: Duration, jitter: f64) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            Err(InvalidBackoff::ZeroBase)
        } else if max < base {
            Err(InvalidBackoff::MaxBelowBase { base, max })
        } else if !(0.0..=1.0).contains(&jitter) {
            Err(InvalidBackoff::Jitter(jitter))
        } else {
            Ok(Self { base, max, jitter })
        }
    }

    /// The delay after `failures` failures in a row (0 counts as 1), for a `random` number from 0 to 1.
    ///
    /// With `d = min(base · 2^(failures − 1), max)` it lies between `d · (1 − jitter)`, for 1, and `d`, for 0: never
    /// longer than `max`.
    #[must_use]
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let mut delay = self.base;
        for _ in 1..failures {
            if delay >= self.max {
                break;
            }
            delay = delay.saturating_mul(2);
        }
        let delay = delay.min(self.max);
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        // Only the longest durations do not survive the way through a float.
        let spread = Duration::try_from_secs_f64(delay.as_secs_f64() * self.jitter * random).unwrap_or(delay);
        delay.saturating_sub(spread)
    }
}

/// Failures in a row, forgotten after a quiet period.
///
/// A [success](Self::succeeded) ends nothing by itself: a peer that flaps would else be met with the shortest delay again
/// and again. (Where a success proves more than that, it [eases](Self::eased) the count.) The count starts anew once the peer has been **healthy for the whole quiet period**: from the first success after the
/// last failure on, without another failure. Silence is not health: while nothing but failures was seen, however far
/// apart (the delay may have grown longer than the quiet period), the count goes on.
///
/// Times are monotonic, since the clock's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    quiet: Duration,
    failures: u32,
    /// The first success after the last failure.
    healthy_since: Option<Duration>,
}

impl Streak {
    /// A streak without failures, that is forgotten after `quiet` of health. Zero: by the first success.
    #[must_use]
    pub fn new(quiet: Duration) -> Self {
        Self { quiet, failures: 0, healthy_since: None }
    }

    /// A failure at `now`. Answers with the number of failures to give to [`Backoff::delay`].
    pub fn failed(&mut self, now: Duration) -> u32 {
        self.forget(now);
        self.healthy_since = None;
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// A success at `now`.
    pub fn succeeded(&mut self, now: Duration) {
        self.healthy_since.get_or_insert(now);
        self.forget(now);
    }

    /// A success at `now` that proves something by itself, as a delivery does and a connection does not: half of the
    /// failures are forgotten at once. A peer that fails now and then is so met with short delays, however long it does.
    pub fn eased(&mut self, now: Duration) {
        self.succeeded(now);
        self.failures /= 2;
    }

    /// The failures that are remembered: 0 if there was none, or after a quiet period.
    #[cfg(test)]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn forget(&mut self, now: Duration) {
        if self.healthy_since.is_some_and(|since| now.saturating_sub(since) >= self.quiet) {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::new(secs(1), secs(10), 0.0).expect("valid");
        let delays: Vec<u64> = (0..=7).map(|failures| backoff.delay(failures, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8, 10, 10, 10]);
        assert_eq!(backoff.delay(u32::MAX, 0.5), secs(10));
    }

    #[test]
    fn jitter_shortens_by_its_share_at_most() {
        let backoff = Backoff::new(secs(8), secs(60), 0.25).expect("valid");
        let delays = [0.0, 0.5, 1.0].map(|random| backoff.delay(2, random));
        assert_eq!(delays, [secs(16), secs(14), secs(12)]);
        let all = Backoff::new(secs(8), secs(8), 1.0).expect("valid");
        assert_eq!(all.delay(1, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_random_number_out_of_range_does_no_harm() {
        let backoff = Backoff::new(secs(8), secs(60), 0.5).expect("valid");
        for (random, delay) in
            [(f64::NAN, 8), (-1.0, 8), (f64::NEG_INFINITY, 8), (2.0, 4), (f64::INFINITY, 4), (f64::MAX, 4)]
        {
            assert_eq!(backoff.delay(1, random), secs(delay), "{random}");
        }
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let backoff = Backoff::new(Duration::from_nanos(1), Duration::MAX, 1.0).expect("valid");
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::MAX);
        assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::ZERO);
        assert_eq!(backoff.delay(95, 0.0), Duration::from_nanos(1 << 63).saturating_mul(1 << 31));
    }

    #[test]
    fn wrong_values_are_refused_with_their_reason() {
        for (base, max, jitter, error) in [
            (0, 1, 0.0, "the backoff's base must be longer than zero"),
            (2, 1, 0.0, "the backoff's maximum (1s) is shorter than its base (2s)"),
            (1, 1, -0.1, "the backoff's jitter (-0.1) is not between 0 and 1"),
            (1, 1, 1.1, "the backoff's jitter (1.1) is not between 0 and 1"),
            (1, 1, f64::NAN, "the backoff's jitter (NaN) is not between 0 and 1"),
            (1, 1, f64::INFINITY, "the backoff's jitter (inf) is not between 0 and 1"),
        ] {
            assert_eq!(Backoff::new(secs(base), secs(max), jitter).expect_err(error).to_string(), error);
        }
        assert!(Backoff::new(secs(1), secs(1), 0.0).is_ok() && Backoff::new(secs(1), secs(1), 1.0).is_ok());
    }

    #[test]
    fn failures_in_a_row_are_counted_however_far_apart() {
        let mut streak = Streak::new(secs(60));
        assert_eq!([0, 1, 1_000, 100_000].map(|now| streak.failed(secs(now))), [1, 2, 3, 4]);
    }

    #[test]
    fn a_success_within_the_quiet_period_keeps_the_count() {
        let mut streak = Streak::new(secs(60));
        streak.failed(secs(0));
        streak.failed(secs(10));
        streak.succeeded(secs(20));
        streak.succeeded(secs(79));
        assert_eq!(streak.failures(), 2);
        assert_eq!(streak.failed(secs(79)), 3);
        // Health begins anew with the first success after that.
        streak.succeeded(secs(90));
        streak.succeeded(secs(149));
        assert_eq!(streak.failures(), 3);
    }

    #[test]
    fn a_quiet_period_of_health_resets_the_count() {
        let mut streak = Streak::new(secs(60));
        streak.failed(secs(0));
        streak.failed(secs(10));
        streak.succeeded(secs(20));
        streak.succeeded(secs(80));
        assert_eq!(streak.failures(), 0);
        assert_eq!(streak.failed(secs(81)), 1);
    }

    #[test]
    fn a_failure_after_a_quiet_period_is_the_first() {
        let mut streak = Streak::new(secs(60));
        streak.failed(secs(0));
        streak.failed(secs(10));
        streak.succeeded(secs(20));
        assert_eq!(streak.failed(secs(80)), 1, "no success was needed in between");
        assert_eq!(streak.failed(secs(200)), 2, "silence is not health");
    }

    #[test]
    fn without_a_quiet_period_every_success_resets() {
        let mut streak = Streak::new(Duration::ZERO);
        streak.failed(secs(0));
        streak.failed(secs(1));
        streak.succeeded(secs(1));
        assert_eq!((streak.failures(), streak.failed(secs(1))), (0, 1));
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0u64..100_000).prop_map(Duration::from_millis),
            (any::<u64>(), 0u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        ]
    }

    proptest! {
        #[test]
        fn a_delay_stays_between_its_bounds(
            base in any_duration(), more in any_duration(), jitter in 0.0..=1.0f64, failures: u32, random in 0.0..=1.0f64,
        ) {
            prop_assume!(!base.is_zero());
            let max = base.saturating_add(more);
            let backoff = Backoff::new(base, max, jitter).expect("valid");
            let full = backoff.delay(failures, 0.0);
            let delay = backoff.delay(failures, random);
            prop_assert!(base <= full && full <= max);
            prop_assert!(delay <= full);
            let rounding = full.as_secs_f64() * 1e-9 + 1e-9;
            let shortest = full.as_secs_f64() * (1.0 - jitter);
            prop_assert!(delay.as_secs_f64() >= shortest - rounding, "{delay:?} of {full:?}");
            let next = backoff.delay(failures.saturating_add(1), random);
            prop_assert!(next.as_secs_f64() >= delay.as_secs_f64() - rounding, "{next:?} after {delay:?}");
        }

        #[test]
        fn any_numbers_do_not_panic(failures: u32, jitter: f64, random: f64, base in any_duration(), max in any_duration()) {
            if let Ok(backoff) = Backoff::new(base, max, jitter) {
                prop_assert!(backoff.delay(failures, random) <= max);
            }
        }

        #[test]
        fn the_count_is_that_of_the_failures_since_the_last_healthy_period(
            quiet in 0u64..6, events in prop::collection::vec((0u64..4, any::<bool>()), 0..40),
        ) {
            let mut streak = Streak::new(secs(quiet));
            let mut history: Vec<(u64, bool)> = Vec::new();
            let mut now = 0;
            for (pause, succeeded) in events {
                now += pause;
                history.push((now, succeeded));
                if succeeded {
                    streak.succeeded(secs(now));
                } else {
                    streak.failed(secs(now));
                }
                // Forgotten at every event before which nothing but successes came for `quiet`, the first included.
                let mut expected = 0;
                for (i, (at, succeeded)) in history.iter().enumerate() {
                    let first = history[..i].iter().rev().take_while(|(_, succeeded)| *succeeded).last();
                    let began = first.map(|(began, _)| *began).or(succeeded.then_some(*at));
                    if began.is_some_and(|began| at - began >= quiet) {
                        expected = 0;
                    }
                    expected += u32::from(!succeeded);
                }
                prop_assert_eq!(streak.failures(), expected);
            }
        }
    }
}
