//! The answer to "why was nothing sent?", in words.
//!
//! The scheduler knows the reason and publishes it when it changes; how long something has lasted, and how long it will,
//! is said at the moment of asking.

use std::time::Duration;

use ograph_dispatcher_actors::{
    model::time::Timestamp,
    status::Phase,
    status::{ReceiverStatus, Status},
    store::Outcome,
};

use super::health::{Condition, SOURCE_FAILING, SOURCE_REFUSED};

/// Where the whole stands.
pub(super) fn standing(status: &Status, conditions: &[Condition], now: Timestamp) -> String {
    let scheduler = &status.scheduler;
    let pending = status.receivers.iter().map(|receiver| receiver.pending).max().unwrap_or(0);
    let reason = match scheduler.state {
        None => return "starting".to_owned(),
        Some(Phase::Cooldown) => {
            let until = status.receivers.iter().filter_map(|receiver| receiver.cooling_until).max();
            format!("cooling down, {} left; {} pending", remaining(until, now), changes(pending))
        }
        Some(Phase::Paused) => {
            format!("paused by hand{}; {} pending", since(scheduler.since, now), changes(pending))
        }
        Some(Phase::Waiting) if status.receivers.iter().any(|receiver| is_ready(receiver, now)) => {
            format!("waiting: {}{}", scheduler.reason, since(scheduler.room_since, now))
        }
        Some(Phase::Waiting) => {
            let stuck = status.receivers.iter().filter(|receiver| receiver.pending > 0 && receiver.failures > 0);
            let stuck: Vec<_> = stuck.map(|it| format!("receiver {} {}", it.receiver, receiver(it, now))).collect();
            if stuck.is_empty() { scheduler.reason.clone() } else { stuck.join("; ") }
        }
        Some(Phase::Idle | Phase::Pushing) => scheduler.reason.clone(),
    };
    // What is not seen cannot be sent: that is then the reason behind the reason.
    match conditions.iter().find(|condition| [SOURCE_REFUSED, SOURCE_FAILING].contains(&condition.name)) {
        Some(blind) => format!("{reason}, as far as is known: {}", blind.message),
        None => reason,
    }
}

/// Where one receiver stands.
pub(super) fn receiver(status: &ReceiverStatus, now: Timestamp) -> String {
    if status.in_flight {
        return "is being told".to_owned();
    }
    let detail = status.last_delivery.as_ref().map_or("", |last| last.detail.as_str());
    match status.last_delivery.as_ref().map(|last| last.outcome) {
        Some(Outcome::Failed) => {
            let failing = format!("failing{}: {detail}", since(status.failing_since, now));
            match status.next_retry_at.filter(|at| *at > now) {
                Some(at) => format!("{failing}; next attempt in {}", span(at.since(now))),
                None => failing,
            }
        }
        Some(Outcome::Refused) if status.pending > 0 => {
            format!("refuses the batch{}: {detail}", since(status.failing_since, now))
        }
        Some(Outcome::Skipped) => format!("is not told: {detail}"),
        _ => match (status.pending, status.cooling_until.filter(|until| *until > now)) {
            (0, _) => "knows everything".to_owned(),
            (_, Some(until)) => format!("cooling down, {} left", span(until.since(now))),
            (pending, None) => format!("waits for {}", changes(pending)),
        },
    }
}

/// Whether only room is missing.
fn is_ready(receiver: &ReceiverStatus, now: Timestamp) -> bool {
    let over = |time: Option<Timestamp>| time.is_none_or(|time| time <= now);
    let refused = receiver.last_delivery.as_ref().is_some_and(|last| last.outcome == Outcome::Refused);
    receiver.pending > 0 && !receiver.in_flight && !refused && over(receiver.next_retry_at)
}

fn changes(number: usize) -> String {
    if number == 1 { "1 change".to_owned() } else { format!("{number} changes") }
}

fn remaining(until: Option<Timestamp>, now: Timestamp) -> String {
    span(until.map_or(Duration::ZERO, |until| until.since(now)))
}

/// `, since 12:03 UTC`; with the date if it is another day's. The time zone of whoever asks is not known here.
pub(super) fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else { return String::new() };
    let (text, today) = (time.to_string(), now.to_string());
    // `2026-11-22T19:41:07.250Z`: years of four digits are all that a timestamp holds.
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(clock)) if today.starts_with(day) => format!(" since {clock} UTC"),
        (Some(day), Some(clock)) => format!(" since {day} {clock} UTC"),
        _ => format!(" since {text}"),
    }
}

/// A duration in its two largest units.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        // What has begun counts: nobody wants to read "0 s left".
        0..60 => format!("{} s", duration.as_millis().div_ceil(1_000)),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ograph_dispatcher_actors::status::{LastDelivery, SchedulerStatus};

    use super::{
        super::{health::Severity, testing},
        *,
    };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-22T12:10:00Z")
    }

    fn waiting_for(pending: usize) -> ReceiverStatus {
        ReceiverStatus { pending, ..testing::receiver("openclaw") }
    }

    fn status(state: Phase, reason: &str, receivers: Vec<ReceiverStatus>) -> Status {
        let scheduler = SchedulerStatus {
            state: Some(state),
            reason: reason.to_owned(),
            room_since: Some(at("2026-11-22T12:03:20Z")),
            since: Some(at("2026-11-21T12:03:20Z")),
            ..SchedulerStatus::default()
        };
        Status { scheduler: Arc::new(scheduler), receivers, ..Status::default() }
    }

    #[test]
    fn waiting_for_room_says_since_when() {
        let status = status(Phase::Waiting, "2 changes pending: 1 of 2 needed slots free", vec![waiting_for(2)]);
        let said = standing(&status, &[], now());
        assert_eq!(said, "waiting: 2 changes pending: 1 of 2 needed slots free since 12:03 UTC");
    }

    #[test]
    fn a_cooldown_says_how_long_it_will_last() {
        let cooling = ReceiverStatus { cooling_until: Some(at("2026-11-22T12:10:40.500Z")), ..waiting_for(1) };
        let status = status(Phase::Cooldown, "cooling down until …", vec![cooling]);
        assert_eq!(standing(&status, &[], now()), "cooling down, 41 s left; 1 change pending");
    }

    #[test]
    fn a_failing_receiver_is_named_with_its_error_and_the_next_attempt() {
        let failing = ReceiverStatus {
            failures: 3,
            failing_since: Some(at("2026-11-21T23:59:00Z")),
            next_retry_at: Some(at("2026-11-22T12:12:05Z")),
            last_delivery: Some(LastDelivery {
                at: now(),
                outcome: Outcome::Failed,
                detail: "exit 1: no gateway".to_owned(),
            }),
            ..waiting_for(1)
        };
        let status = status(Phase::Waiting, "openclaw failing", vec![failing]);
        assert_eq!(
            standing(&status, &[], now()),
            "receiver openclaw failing since 2026-11-21 23:59 UTC: exit 1: no gateway; next attempt in 2 min 5 s"
        );
    }

    #[test]
    fn a_refused_token_is_the_reason_behind_the_reason() {
        let refused = Condition::new(SOURCE_REFUSED, Severity::Error, "OGraph refuses the token since 12:03 UTC");
        let status = status(Phase::Idle, "nothing is pending", vec![waiting_for(0)]);
        assert_eq!(
            standing(&status, &[refused], now()),
            "nothing is pending, as far as is known: OGraph refuses the token since 12:03 UTC"
        );
    }

    #[test]
    fn spans_have_two_units_at_most_and_never_say_zero_for_something() {
        for (millis, text) in
            [(1, "1 s"), (59_999, "60 s"), (60_000, "1 min 0 s"), (3_725_000, "1 h 2 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }
}
