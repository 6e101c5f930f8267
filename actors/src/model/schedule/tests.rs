use proptest::prelude::*;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Now {
    Now { mono: secs(seconds), wall: Timestamp::EPOCH + secs(seconds) }
}

fn id(name: &str) -> ReceiverId {
    ReceiverId::new(name)
}

fn demand(waiting: usize, generation: u64) -> Demand {
    Demand { waiting, generation, repeats: false }
}

fn schedule(demands: &[(&str, Demand)]) -> Schedule {
    let mut schedule = Schedule::new(ScheduleSettings::default(), demands.iter().map(|(name, _)| id(name)));
    schedule.demand(&demands.iter().map(|(name, demand)| (id(name), *demand)).collect());
    schedule
}

fn poll(schedule: &mut Schedule, slots: u64, seconds: u64) -> Vec<ReceiverId> {
    schedule.poll_started(secs(seconds));
    schedule.poll_ended(Ok(Free::Slots(slots)), at(seconds))
}

fn unknown() -> AvailabilityError {
    AvailabilityError::new(AvailabilityErrorKind::Transport, "connection refused")
}

#[test]
fn nothing_is_pushed_below_the_minimum_and_everything_ready_at_it() {
    let mut schedule = schedule(&[("a", demand(1, 1)), ("b", demand(2, 2)), ("c", demand(0, 0))]);
    assert_eq!(poll(&mut schedule, 1, 0), []);
    assert_eq!(schedule.standing(at(0)).reason, "2 changes pending: 1 of 2 needed slots free");
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(5)));
    assert_eq!(poll(&mut schedule, 2, 5), [id("a"), id("b")]);
}

#[test]
fn a_cooldown_counts_from_the_end_of_a_push_but_at_most_2_seconds_after_its_beginning() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    poll(&mut schedule, 2, 0);
    schedule.push_started(&id("a"), secs(0));
    assert_eq!(schedule.standing(at(1)).phase, Phase::Pushing);
    schedule.demand(&[(id("a"), demand(1, 2))].into());
    schedule.push_ended(&id("a"), Delivered::Yes, secs(14), 0.0);
    assert_eq!(schedule.next_poll(secs(14)), Some(secs(60)), "for the status");
    assert_eq!(schedule.standing(at(14)).reason, "cooling down until 1970-01-01T00:01:02.000Z; 1 change pending");
    assert_eq!(poll(&mut schedule, 9, 61), []);
    assert_eq!(poll(&mut schedule, 9, 62), [id("a")]);
}

#[test]
fn the_receivers_of_one_push_stay_in_step() {
    let mut schedule = schedule(&[("a", demand(1, 1)), ("b", demand(1, 1)), ("slow", demand(1, 1))]);
    for receiver in poll(&mut schedule, 2, 10) {
        schedule.push_started(&receiver, secs(10));
    }
    let demands = ["a", "b", "slow"].map(|name| (id(name), demand(1, 2)));
    schedule.demand(&demands.into());
    schedule.push_ended(&id("a"), Delivered::Yes, secs(10), 0.0);
    schedule.push_ended(&id("b"), Delivered::Yes, secs(11), 0.0);
    schedule.push_ended(&id("slow"), Delivered::Yes, secs(30), 0.0);
    assert_eq!(poll(&mut schedule, 9, 71), []);
    assert_eq!(poll(&mut schedule, 9, 72).len(), 3);
}

#[test]
fn a_restored_cooldown_is_never_longer_than_the_configured_one() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    schedule.restore(false, [(id("a"), Timestamp::EPOCH + secs(10_000))], at(0));
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(0)), "the first poll is for the status");
    assert_eq!(poll(&mut schedule, 9, 0), []);
    assert_eq!(poll(&mut schedule, 9, 61), []);
    assert_eq!(poll(&mut schedule, 9, 62), [id("a")], "at most 2 s more, for a push that was slow");
}

#[test]
fn the_rest_of_a_push_may_be_repeated_during_the_cooldown_but_new_content_may_not() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    poll(&mut schedule, 2, 0);
    schedule.push_started(&id("a"), secs(0));
    schedule.demand(&[(id("a"), Demand { repeats: true, ..demand(1, 1) })].into());
    schedule.push_ended(&id("a"), Delivered::Failed { after: None, maybe: true }, secs(0), 0.0);
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(1)), "the same batch: after the backoff");
    schedule.demand(&[(id("a"), demand(1, 2))].into());
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(60)), "another one: after the cooldown");
}

#[test]
fn what_certainly_did_not_arrive_starts_no_cooldown() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    poll(&mut schedule, 2, 0);
    schedule.push_started(&id("a"), secs(0));
    schedule.demand(&[(id("a"), demand(2, 2))].into());
    schedule.push_ended(&id("a"), Delivered::Failed { after: Some(secs(9)), maybe: false }, secs(0), 0.0);
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(9)));
    assert_eq!(schedule.standing(at(0)).reason, "a failing; next attempt at 1970-01-01T00:00:09.000Z");
    assert_eq!(poll(&mut schedule, 2, 9), [id("a")]);
}

#[test]
fn failures_in_a_row_delay_ever_longer_and_every_success_halves_their_count() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    let mut now = 0;
    let mut retry_after = |delivered| {
        now += 10;
        schedule.push_started(&id("a"), secs(now));
        schedule.push_ended(&id("a"), delivered, secs(now), 0.0);
        schedule.next_retry(&id("a")).map(|at| at.as_secs() - now)
    };
    let failed = Delivered::Failed { after: None, maybe: false };
    assert_eq!([failed; 5].map(&mut retry_after), [1, 2, 4, 8, 16].map(Some));
    assert_eq!(retry_after(Delivered::Yes), None);
    assert_eq!(retry_after(failed), Some(4), "the third failure, not the sixth");
    // One that fails every other time, or two times of three, works well enough to be told without a long delay.
    for round in 0..50 {
        assert_eq!(retry_after(Delivered::Yes), None);
        let delay = retry_after(failed);
        assert!(delay <= Some(2), "{delay:?} in round {round}");
    }
    for round in 0..50 {
        assert_eq!(retry_after(Delivered::Yes), None);
        let delays = [failed; 2].map(&mut retry_after);
        assert!(delays <= [Some(4), Some(8)], "{delays:?} in round {round}");
    }
}

#[test]
fn a_receiver_that_has_been_well_for_a_while_begins_anew() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    let mut retry_after = |now: u64, delivered| {
        schedule.push_started(&id("a"), secs(now));
        schedule.push_ended(&id("a"), delivered, secs(now), 0.0);
        schedule.next_retry(&id("a")).map(|at| at.as_secs() - now)
    };
    let failed = Delivered::Failed { after: None, maybe: false };
    assert_eq!([0, 10, 20, 30].map(|now| retry_after(now, failed)), [1, 2, 4, 8].map(Some));
    assert_eq!(retry_after(40, Delivered::Yes), None);
    assert_eq!(retry_after(340, failed), Some(1));
}

#[test]
fn a_refusal_counts_for_the_refused_content_only() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    for (repeats, generation, ready) in [(true, 1, false), (false, 2, true)] {
        schedule.push_started(&id("a"), secs(0));
        schedule.demand(&[(id("a"), Demand { waiting: 1, generation, repeats })].into());
        schedule.push_ended(&id("a"), Delivered::Refused, secs(0), 0.0);
        assert_eq!(!poll(&mut schedule, 2, 1).is_empty(), ready, "repeats: {repeats}");
    }
    schedule.push_started(&id("a"), secs(2));
    schedule.demand(&[(id("a"), Demand { repeats: true, ..demand(1, 2) })].into());
    schedule.push_ended(&id("a"), Delivered::Refused, secs(2), 0.0);
    assert!(schedule.standing(at(2)).reason.starts_with("a refuses the batch"));
    schedule.demand(&[(id("a"), demand(1, 3))].into());
    assert_eq!(poll(&mut schedule, 2, 3), [id("a")]);
}

#[test]
fn a_pause_holds_pushes_but_not_flushes() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    schedule.pause(true);
    assert_eq!(poll(&mut schedule, 9, 0), []);
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(60)));
    assert_eq!(schedule.standing(at(0)).reason, "paused by hand; 1 change pending");
    assert_eq!(schedule.flush_targets().ready, [id("a")]);
}

#[test]
fn a_flush_tells_who_is_free_busy_with_more_to_come_and_being_served() {
    let mut schedule =
        schedule(&[("busy", demand(1, 1)), ("free", demand(1, 1)), ("none", demand(0, 0)), ("served", demand(0, 1))]);
    schedule.push_started(&id("busy"), secs(0));
    schedule.push_started(&id("served"), secs(0));
    assert_eq!(
        schedule.flush_targets(),
        FlushTargets { ready: vec![id("free")], busy: vec![id("busy")], served: vec![id("served")] }
    );
}

#[test]
fn a_lease_that_fails_does_not_make_it_ask_without_a_pause() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    poll(&mut schedule, 2, 0);
    schedule.push_started(&id("a"), secs(0));
    schedule.push_abandoned(&id("a"));
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(5)));
}

#[test]
fn a_gateway_that_refuses_the_token_is_asked_at_the_idle_pace() {
    let mut schedule = schedule(&[("a", demand(1, 1))]);
    schedule.poll_started(secs(0));
    let refused = AvailabilityError::new(AvailabilityErrorKind::Unauthorized, "the token is refused");
    schedule.poll_ended(Err(refused), at(0));
    assert_eq!(schedule.next_poll(secs(0)), Some(secs(60)));
}

#[derive(Clone, Debug)]
enum Action {
    Pass(u64),
    Demand(u8, u8),
    Poll(Option<u64>),
    End(u8, Delivered),
    Pause(bool),
    Flush,
}

fn any_action() -> impl Strategy<Value = Action> {
    let delivered = prop_oneof![
        Just(Delivered::Yes),
        Just(Delivered::Refused),
        (prop::option::of(0u64..100), any::<bool>())
            .prop_map(|(after, maybe)| Delivered::Failed { after: after.map(secs), maybe }),
    ];
    prop_oneof![
        (0u64..70).prop_map(Action::Pass),
        (0u8..3, 0u8..3).prop_map(|(receiver, waiting)| Action::Demand(receiver, waiting)),
        prop::option::of(0u64..4).prop_map(Action::Poll),
        (0u8..3, delivered).prop_map(|(receiver, delivered)| Action::End(receiver, delivered)),
        any::<bool>().prop_map(Action::Pause),
        Just(Action::Flush),
    ]
}

proptest! {
    /// Whatever happens: no push without room, in a cooldown, during a pause or beside another one to the same receiver
    /// (unless flushed); and whatever is pending is asked for again.
    #[test]
    fn a_schedule_never_pushes_when_it_must_not_and_never_forgets(actions in prop::collection::vec(any_action(), 1..150)) {
        let receivers = ["a", "b", "c"].map(id);
        let mut schedule = Schedule::new(ScheduleSettings::default(), receivers.clone());
        let mut demands: BTreeMap<ReceiverId, Demand> = BTreeMap::new();
        let mut in_flight: BTreeMap<ReceiverId, u64> = BTreeMap::new();
        // When the last push that may have arrived began.
        let mut told_at: BTreeMap<ReceiverId, u64> = BTreeMap::new();
        let mut generation = 0;
        let mut paused = false;
        let mut now = 0;
        for action in actions {
            let started = match action {
                Action::Pass(seconds) => {
                    now += seconds;
                    vec![]
                }
                Action::Demand(receiver, waiting) => {
                    generation += 1;
                    demands.insert(receivers[usize::from(receiver)].clone(), demand(waiting.into(), generation));
                    schedule.demand(&demands);
                    vec![]
                }
                Action::Poll(slots) => {
                    schedule.poll_started(secs(now));
                    let ready = schedule.poll_ended(slots.map(Free::Slots).ok_or_else(unknown), at(now));
                    for receiver in &ready {
                        prop_assert!(slots.is_some_and(|slots| slots >= 2), "without room");
                        prop_assert!(!paused, "during a pause");
                        prop_assert!(!in_flight.contains_key(receiver), "twice at once");
                        let cool = told_at.get(receiver).is_none_or(|at| now >= at + 60);
                        prop_assert!(cool, "in the cooldown");
                        prop_assert!(demands[receiver].waiting > 0, "without need");
                    }
                    ready
                }
                Action::End(receiver, delivered) => {
                    let receiver = &receivers[usize::from(receiver)];
                    if let Some(began) = in_flight.remove(receiver) {
                        schedule.push_ended(receiver, delivered, secs(now), 0.5);
                        match delivered {
                            Delivered::Yes | Delivered::Failed { maybe: true, .. } => {
                                told_at.insert(receiver.clone(), began);
                            }
                            _ => {
                                told_at.remove(receiver);
                            }
                        }
                    }
                    vec![]
                }
                Action::Pause(pause) => {
                    paused = pause;
                    schedule.pause(pause);
                    vec![]
                }
                Action::Flush => schedule.flush_targets().ready,
            };
            for receiver in started {
                schedule.push_started(&receiver, secs(now));
                in_flight.insert(receiver, now);
            }
            let next = schedule.next_poll(secs(now));
            prop_assert!(next.is_some_and(|next| next <= secs(now + 60)), "it falls asleep: {next:?} at {now}");
            prop_assert!(!schedule.standing(at(now)).reason.is_empty());
        }
    }
}
