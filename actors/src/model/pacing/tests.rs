use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const VALUE: Found = Found::Value { changed: false };
const CHANGE: Found = Found::Value { changed: true };
const TIMEOUT: Found = Found::Error { kind: SourceErrorKind::Timeout, retry_after: None };
const REFUSED: Found = Found::Error { kind: SourceErrorKind::Unauthorized, retry_after: None };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(number: usize) -> ProjectionKey {
    ProjectionKey::new(format!("p{number}"))
}

fn plan(projections: usize) -> PollPlan {
    PollPlan::new(WatchSettings::default(), (0..projections).map(key), Duration::ZERO)
}

/// Polls everything that is due, each with the same result.
fn sweep(plan: &mut PollPlan, found: Found, now: Duration) -> usize {
    let mut polls = 0;
    loop {
        let started = plan.start_due(now);
        if started.is_empty() {
            return polls;
        }
        polls += started.len();
        for key in started {
            plan.finish(&key, found, now, 0.0);
        }
    }
}

#[test]
fn everything_is_due_at_the_start_and_then_at_the_idle_pace() {
    let mut plan = plan(40);
    assert_eq!(plan.start_due(Duration::ZERO).len(), 16, "as many at once as allowed");
    assert_eq!(plan.next_wakeup(), None, "a running poll must end first");
    let mut plan = self::plan(40);
    assert_eq!(sweep(&mut plan, VALUE, Duration::ZERO), 40);
    assert_eq!(plan.next_wakeup(), Some(secs(30)));
    assert_eq!(plan.start_due(secs(29)), []);
}

#[test]
fn an_answer_that_is_being_reported_takes_no_slot_but_is_not_polled_again() {
    let mut plan = plan(17);
    let started = plan.start_due(Duration::ZERO);
    plan.answered(&started[0]);
    let next = plan.start_due(Duration::ZERO);
    assert_eq!(next.len(), 1);
    assert_ne!(next[0], started[0]);
}

#[test]
fn retry_after_is_kept_even_if_the_backoff_is_shorter() {
    let mut plan = plan(1);
    let limited = Found::Error { kind: SourceErrorKind::RateLimited, retry_after: Some(secs(500)) };
    sweep(&mut plan, limited, Duration::ZERO);
    assert_eq!(plan.next_wakeup(), Some(secs(500)));
}

#[test]
fn those_that_timed_out_share_a_quarter_of_the_slots() {
    let mut plan = plan(32);
    for _ in 0..2 {
        for key in plan.start_due(Duration::ZERO) {
            plan.finish(&key, TIMEOUT, Duration::ZERO, 0.0);
        }
    }
    assert_eq!(plan.start_due(secs(100)).len(), 4);
}

#[test]
fn a_change_wakes_healthy_projections_and_leaves_failing_ones_alone() {
    let mut plan = plan(3);
    plan.start_due(Duration::ZERO);
    for _ in 0..5 {
        plan.finish(&key(0), TIMEOUT, Duration::ZERO, 0.0);
        plan.request_all(Duration::ZERO);
        plan.start_due(Duration::ZERO);
    }
    plan.finish(&key(0), TIMEOUT, Duration::ZERO, 0.0);
    plan.finish(&key(1), VALUE, Duration::ZERO, 0.0);
    plan.finish(&key(2), CHANGE, Duration::ZERO, 0.0);
    assert_eq!(plan.start_due(secs(5)), [key(1), key(2)]);
}

#[test]
fn only_when_every_projection_is_refused_the_others_wait_for_one_probe() {
    let mut plan = plan(3);
    plan.start_due(Duration::ZERO);
    plan.finish(&key(0), REFUSED, Duration::ZERO, 0.0);
    plan.finish(&key(1), VALUE, Duration::ZERO, 0.0);
    plan.finish(&key(2), REFUSED, Duration::ZERO, 0.0);
    assert_eq!(plan.start_due(secs(30)).len(), 3, "one that is welcome keeps the gate open");
    for number in 0..3 {
        plan.finish(&key(number), REFUSED, secs(30), 0.0);
    }
    let probe = plan.next_wakeup().expect("a probe");
    assert_eq!(plan.start_due(probe).len(), 1);
    assert_eq!(plan.next_wakeup(), None, "the probe decides");
}

#[test]
fn a_welcome_probe_opens_the_gate_for_all() {
    let mut plan = plan(3);
    sweep(&mut plan, REFUSED, Duration::ZERO);
    let probe = plan.next_wakeup().expect("a probe");
    let started = plan.start_due(probe);
    plan.finish(&started[0], VALUE, probe, 0.0);
    assert_eq!(plan.start_due(probe).len(), 2);
}

#[test]
fn a_probe_that_fails_for_another_reason_keeps_the_gate_closed() {
    let mut plan = plan(3);
    sweep(&mut plan, REFUSED, Duration::ZERO);
    let probe = plan.next_wakeup().expect("a probe");
    let started = plan.start_due(probe);
    plan.finish(&started[0], TIMEOUT, probe, 0.0);
    assert_eq!(plan.start_due(probe), []);
    assert!(plan.next_wakeup().is_some_and(|next| next >= probe + secs(30)));
}

#[test]
fn errors_between_absences_are_no_removal() {
    let mut plan = plan(1);
    let mut now = Duration::ZERO;
    for found in [Found::Nothing, Found::Nothing, TIMEOUT, Found::Nothing, Found::Nothing] {
        sweep(&mut plan, found, now);
        assert!(!plan.is_gone(&key(0)));
        now = plan.next_wakeup().expect("a poll");
    }
    sweep(&mut plan, Found::Nothing, now);
    assert!(plan.is_gone(&key(0)));
}

#[test]
fn a_witness_must_have_been_seen_since_the_first_absence() {
    let mut plan = plan(2);
    sweep(&mut plan, VALUE, Duration::ZERO);
    for round in 1..=3 {
        let now = secs(30 * round);
        assert_eq!(plan.start_due(now).len(), 2);
        plan.finish(&key(0), Found::Nothing, now, 0.0);
        plan.finish(&key(1), TIMEOUT, now, 0.0);
        plan.request_all(now);
    }
    assert!(!plan.is_gone(&key(0)), "the witness was there only before");
    plan.start_due(secs(200));
    plan.finish(&key(1), VALUE, secs(200), 0.0);
    plan.finish(&key(0), Found::Nothing, secs(200), 0.0);
    assert!(plan.is_gone(&key(0)));
}

#[test]
fn a_ticket_is_redeemed_by_polls_that_started_after_it_was_given_out() {
    let mut plan = plan(2);
    plan.start_due(Duration::ZERO);
    plan.finish(&key(0), VALUE, Duration::ZERO, 0.0);
    let ticket = plan.request_all(secs(1));
    plan.finish(&key(1), VALUE, secs(1), 0.0);
    assert!(!plan.is_done(ticket), "that poll had started before");
    plan.repeat_for(ticket, secs(1));
    assert_eq!(plan.start_due(secs(1)).len(), 2);
    plan.finish(&key(0), VALUE, secs(2), 0.0);
    plan.finish(&key(1), TIMEOUT, secs(2), 0.0);
    assert!(plan.is_done(ticket), "a failed poll is a poll");
}

#[derive(Clone, Debug)]
enum Action {
    Pass(u64),
    Start,
    Answer(usize),
    Finish(usize, Found),
    Request,
    Reconfigure(usize),
}

fn any_action() -> impl Strategy<Value = Action> {
    let found = prop_oneof![
        4 => Just(VALUE),
        2 => Just(CHANGE),
        1 => Just(Found::Nothing),
        1 => Just(TIMEOUT),
        1 => Just(REFUSED),
    ];
    prop_oneof![
        (1u64..40).prop_map(Action::Pass),
        Just(Action::Start),
        any::<usize>().prop_map(Action::Answer),
        (any::<usize>(), found).prop_map(|(index, found)| Action::Finish(index, found)),
        Just(Action::Request),
        (1usize..12).prop_map(Action::Reconfigure),
    ]
}

proptest! {
    /// Whatever happens: nothing is polled twice at once, no more polls run than allowed, and there is always a next
    /// poll, at most the longest backoff away.
    #[test]
    fn a_plan_never_overlaps_never_floods_and_never_falls_asleep(actions in prop::collection::vec(any_action(), 1..120)) {
        let settings = WatchSettings { concurrency: 4, ..WatchSettings::default() };
        let mut watched: BTreeSet<_> = (0..6).map(key).collect();
        let mut plan = PollPlan::new(settings, watched.clone(), Duration::ZERO);
        let mut running: BTreeMap<ProjectionKey, bool> = BTreeMap::new();
        let mut now = Duration::ZERO;
        for action in actions {
            match action {
                Action::Pass(seconds) => now += secs(seconds),
                Action::Start => {
                    for key in plan.start_due(now) {
                        prop_assert!(watched.contains(&key));
                        prop_assert!(running.insert(key, false).is_none());
                    }
                }
                Action::Answer(index) => {
                    let count = running.len();
                    if let Some((key, answered)) = running.iter_mut().nth(index % count.max(1)) {
                        plan.answered(key);
                        *answered = true;
                    }
                }
                Action::Finish(index, found) => {
                    let key = running.keys().nth(index % running.len().max(1)).cloned();
                    if let Some(key) = key {
                        running.remove(&key);
                        plan.finish(&key, found, now, 0.5);
                    }
                }
                Action::Request => {
                    plan.request_all(now);
                }
                Action::Reconfigure(count) => {
                    watched = (0..count).map(key).collect();
                    plan.reconfigure(settings, watched.clone(), now);
                    running.retain(|key, _| watched.contains(key));
                }
            }
            let busy = running.values().filter(|answered| !**answered).count();
            prop_assert!(busy <= 4, "{busy} polls at once");
        }
        for key in std::mem::take(&mut running).into_keys() {
            plan.finish(&key, VALUE, now, 0.5);
        }
        let wakeup = plan.next_wakeup();
        prop_assert!(wakeup.is_some_and(|at| at <= now + secs(300)), "{wakeup:?}");
        let at = wakeup.unwrap_or_default().max(now);
        prop_assert!(!plan.start_due(at).is_empty());
    }
}
