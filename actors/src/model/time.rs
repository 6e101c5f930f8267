//! Wall-clock time as documents and the store carry it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment of wall-clock time in whole milliseconds, written as RFC 3339 UTC (`2026-11-22T19:41:07.250Z`).
///
/// Milliseconds are the precision of every document and of the store, so a value read back equals the one written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    const MIN: i64 = -62_135_596_800_000;
    /// 9999-12-30T21:59:59.999Z, the last that can be written in every time zone.
    const MAX: i64 = 253_402_207_199_999;

    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// A moment `millis` milliseconds after the Unix epoch; clamped to the years 1 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN, Self::MAX))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Self::from_millis(time.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Into::into)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_written_with_exactly_three_decimals() {
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_795_376_467_250).to_string(), "2026-11-22T19:41:07.250Z");
    }

    #[test]
    fn survives_being_written_and_read() {
        for millis in [i64::MIN, -1, 0, 1, 1_795_376_467_999, i64::MAX] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string().parse::<Timestamp>().ok(), Some(time));
        }
    }

    #[test]
    fn any_time_zone_is_read_and_what_is_finer_than_milliseconds_is_cut_off() {
        for text in ["2026-11-22T19:41:07.250Z", "2026-11-22T20:41:07.2509+01:00", "2026-11-22 19:41:07.25z"] {
            assert_eq!(text.parse::<Timestamp>().expect(text), Timestamp::from_millis(1_795_376_467_250), "{text}");
        }
        for text in ["", "soon", "2026-11-22", "2026-11-22T19:41:07", "2026-13-01T00:00:00Z", "1795376467250"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Timestamp>("1795376467250").is_err());
    }

    #[test]
    fn times_beyond_the_calendar_are_clamped() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(first.to_string(), "0001-01-01T00:00:00.000Z");
        assert_eq!(last.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!(Timestamp::from(jiff::Timestamp::MIN), first);
        assert_eq!(Timestamp::from(jiff::Timestamp::MAX), last);
        assert_eq!("-000001-01-01T00:00:00Z".parse::<Timestamp>().ok(), Some(first));
        assert_eq!(first + Duration::MAX, last);
    }

    #[test]
    fn never_runs_backwards() {
        let later = Timestamp::EPOCH + Duration::from_secs(1);
        assert_eq!(later.since(Timestamp::EPOCH), Duration::from_secs(1));
        assert_eq!(Timestamp::EPOCH.since(later), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_time_survives_the_store_and_keeps_its_order(a: i64, b in -100_000i64..100_000) {
            let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(a.saturating_add(b)));
            let text = serde_json::to_string(&[a, b]).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<[Timestamp; 2]>(&text).expect("times"), [a, b]);
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }
    }
}
