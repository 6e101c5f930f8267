//! The `Retry-After` header (RFC 9110, 10.2.3): how long a server asks us to stay away.

use std::time::{Duration, UNIX_EPOCH};

use super::time::Timestamp;

/// The longest time that a server can keep us away; whatever it asks beyond that is cut to it.
pub const MAX: Duration = Duration::from_secs(60 * 60);

/// Reads both forms of the header: a number of seconds (`120`), or a date (`Sun, 06 Nov 1994 08:49:37 GMT`, and the two
/// obsolete ways to write one) from which `now` is subtracted.
///
/// At most [`MAX`]; a date that is past is zero; `None` for anything else.
#[must_use]
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that are no `u64` are too many.
        value.parse().map_or(MAX, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
        (Timestamp::EPOCH + date).since(now)
    };
    Some(delay.min(MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn now() -> Timestamp {
        Timestamp::from_millis(784_111_777_000)
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        for (value, delay) in [
            ("0", 0),
            ("120", 120),
            (" 120\t", 120),
            ("007", 7),
            ("3600", 3_600),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Sun, 06 Nov 1994 08:51:37 GMT", 120),
            ("Sunday, 06-Nov-94 08:51:37 GMT", 120),
            ("Sun Nov  6 08:51:37 1994", 120),
        ] {
            assert_eq!(parse(value, now()), Some(secs(delay)), "{value}");
        }
        let half_a_second_ago = Timestamp::from_millis(784_111_776_500);
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT", half_a_second_ago),
            Some(Duration::from_millis(500)),
            "not rounded down to no delay"
        );
    }

    #[test]
    fn what_is_past_is_no_delay() {
        for value in ["Sun, 06 Nov 1994 08:49:36 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(parse(value, now()), Some(Duration::ZERO), "{value}");
        }
    }

    #[test]
    fn no_server_keeps_us_away_for_longer_than_an_hour() {
        for value in [
            "3601",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999999999999999999999999999999",
            "Sun, 06 Nov 1994 09:49:38 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(parse(value, now()), Some(MAX), "{value}");
        }
        assert_eq!(parse("Fri, 31 Dec 9999 23:59:59 GMT", Timestamp::from_millis(i64::MIN)), Some(MAX));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", Timestamp::from_millis(i64::MAX)), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_no_delay_at_all() {
        for value in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "0x10",
            "１２０",
            "120s",
            "1 2",
            "soon",
            "\n120",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(parse(value, now()), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value: String, millis: i64) {
            let delay = parse(&value, Timestamp::from_millis(millis));
            prop_assert!(delay.is_none_or(|delay| delay <= MAX));
        }

        #[test]
        fn no_date_makes_it_panic(
            value in "(Sun|Mon|Sunday|Thursday|Wednes),? [0-9 ]{2}[- ](Feb|Nov|Dec|Xyz)[- ][0-9]{2,4} [0-9:]{8}( GMT| [0-9]{4})?",
            millis: i64,
        ) {
            let delay = parse(&value, Timestamp::from_millis(millis));
            prop_assert!(delay.is_none_or(|delay| delay <= MAX));
        }

        #[test]
        fn a_date_is_as_far_away_as_it_is(start in 0i64..200_000_000_000, ahead in 0u64..5_000) {
            let now = Timestamp::from_millis(start * 1_000);
            let date = httpdate::fmt_http_date(UNIX_EPOCH + secs(start as u64 + ahead));
            prop_assert_eq!(parse(&date, now), Some(secs(ahead).min(MAX)));
        }
    }
}
