//! Times and numbers as people say them.

use std::{fmt, time::Duration};

use ograph_dispatcher_actors::model::time::Timestamp;

/// A duration in its two largest units: `250 ms`, `41 s`, `2 min 5 s`, `3 h 4 min`, `2 d 1 h`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A time seen from `now`: `12 s ago`, `in 41 s`, `now`.
pub(super) fn relative(time: Timestamp, now: Timestamp) -> String {
    const INSTANT: Duration = Duration::from_secs(1);
    let (past, future) = (now.since(time), time.since(now));
    if past >= INSTANT {
        format!("{} ago", duration(past))
    } else if future >= INSTANT {
        format!("in {}", duration(future))
    } else {
        "now".to_owned()
    }
}

/// `1 change`, `2 changes`.
pub(super) fn count(number: impl fmt::Display + PartialEq<u64>, word: &str) -> String {
    let plural = match word.strip_suffix("ch") {
        _ if number == 1 => "",
        Some(_) => "es",
        None => "s",
    };
    format!("{number} {word}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_999, "1 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (11_099_000, "3 h 4 min"),
            (176_400_000, "2 d 1 h"),
            (31_536_000_000, "365 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_are_relative_to_now() {
        let now = Timestamp::from_millis(1_000_000);
        for (millis, text) in [(988_000, "12 s ago"), (999_500, "now"), (1_000_900, "now"), (1_041_000, "in 41 s")] {
            assert_eq!(relative(Timestamp::from_millis(millis), now), text);
        }
    }

    #[test]
    fn words_follow_numbers() {
        let counted = |number: u64, word| count(number, word);
        assert_eq!(
            [counted(0, "change"), counted(1, "change"), counted(2, "batch")],
            ["0 changes", "1 change", "2 batches"]
        );
    }
}
