//! The SchedulerActor polls the availability and pushes when there is room.
//!
//! # Expected flow of a push
//! 1. The batches are leased: frozen and stored, with the cooldown that they start.
//! 2. Each receiver gets its document in a task of its own.
//! 3. What came of it is settled, which is durable; only then does the next push to that receiver begin.

mod attempt;
mod desk;

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, ResponseFuture, Supervised, fut::wrap_future,
};
use tokio::sync::oneshot;

use self::{
    attempt::{Attempt, Judged, log_delivery},
    desk::{Answer, Desk, Last, LastDeliveries, PendingFlush},
};
use crate::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    clock::Now,
    events::Event,
    failpoint::failpoint,
    messages::{
        ControlError, DemandChanged, Demands, Drain, FlushNow, FlushReport, FlushedBatch, Lease, Leased, Ping,
        Reconfigure, Reopen, Reopened, SetPaused, Settle,
    },
    model::{
        availability::Free,
        document::{AvailabilityNote, Reason},
        receiver::{Reached, ReceiverId},
        schedule::{FlushTargets, Phase, Room, Schedule},
    },
    receivers::{DeliveryError, DeliveryErrorKind, Guarantee, Receiver},
    shared::Shared,
    status::LastDelivery,
    store::{Delivery, Outcome},
    supervision::CatchPanic,
    supervisor::{SCHEDULER, SupervisorActor},
};

/// How long to wait before the store is asked again.
const STORE_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct SchedulerActor {
    shared: Arc<Shared>,
    supervisor: Addr<SupervisorActor>,
    /// `None` until it is known what is pending.
    desk: Option<Desk>,
    /// Kept over a reload.
    last: LastDeliveries,
    /// What was said while there was no desk: it may overtake the answer that the desk begins with.
    missed: Missed,
}

/// The newest word on what is pending, and whether pushing was paused or resumed.
#[derive(Default)]
struct Missed {
    demands: Demands,
    paused: Option<bool>,
}

impl SchedulerActor {
    pub(crate) fn new(shared: Arc<Shared>, supervisor: Addr<SupervisorActor>) -> Self {
        Self { shared, supervisor, desk: None, last: LastDeliveries::new(), missed: Missed::default() }
    }

    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    fn reopen(&self, context: &mut Context<Self>) {
        let supervisor = self.supervisor.clone();
        let reopen = async move {
            loop {
                if let Ok(Ok(reopened)) = supervisor.send(Reopen).await {
                    return reopened;
                }
                actix_rt::time::sleep(STORE_DELAY).await;
            }
        };
        context.spawn(wrap_future(reopen).map(|reopened, actor: &mut Self, context| {
            failpoint!("scheduler.future");
            actor.begin(reopened, context);
        }));
    }

    fn begin(&mut self, reopened: Reopened, context: &mut Context<Self>) {
        let now = self.now();
        let setup = self.shared.setup();
        let receivers: BTreeMap<ReceiverId, Rc<dyn Receiver>> = setup
            .receivers
            .iter()
            .map(|make| {
                let receiver: Rc<dyn Receiver> = make().into();
                (receiver.id().clone(), receiver)
            })
            .collect();
        let mut schedule = Schedule::new(setup.settings.schedule, receivers.keys().cloned());
        let missed = std::mem::take(&mut self.missed);
        schedule.restore(missed.paused.unwrap_or(reopened.paused), reopened.cooldowns, now);
        schedule.demand(&reopened.demands.by_receiver);
        let mut desk = Desk {
            schedule,
            availability: (setup.availability)().into(),
            receivers,
            armed: None,
            flushes: Vec::new(),
            standing: None,
            since: None,
            last: std::mem::take(&mut self.last),
            held: false,
            revision: reopened.demands.revision,
            asking: Vec::new(),
            draining: false,
            drained: Vec::new(),
            outdated: false,
        };
        desk.take_demands(&missed.demands);
        self.desk = Some(desk);
        self.poll_due(context);
    }

    /// Polls the availability if it is time, publishes where things stand, and sets the next timer.
    fn poll_due(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let Some(desk) = &mut self.desk else { return };
        let asked = !desk.asking.is_empty() && !desk.schedule.is_polling();
        if asked || (!desk.draining && desk.schedule.next_poll(now.mono).is_some_and(|at| at <= now.mono)) {
            desk.schedule.poll_started(now.mono);
            let availability = Rc::clone(&desk.availability);
            let poll = async move {
                CatchPanic(availability.free()).await.unwrap_or_else(|panic| {
                    let message = format!("the availability panicked: {panic}");
                    Err(AvailabilityError::new(AvailabilityErrorKind::Internal, message))
                })
            };
            context.spawn(wrap_future(poll).map(|answer, actor: &mut Self, context| {
                failpoint!("scheduler.future");
                actor.answered(answer, context);
            }));
        }
        self.publish();
        self.arm(context);
    }

    fn arm(&mut self, context: &mut Context<Self>) {
        let now = self.now().mono;
        let Some(desk) = &mut self.desk else { return };
        let Some(wakeup) = desk.schedule.next_poll(now) else { return };
        // Timers are never cancelled: one that fires early finds nothing due and sets the next.
        if desk.armed.is_none_or(|armed| wakeup < armed) {
            desk.armed = Some(wakeup);
            context.run_later(wakeup.saturating_sub(now), move |actor, context| {
                failpoint!("scheduler.timer");
                if let Some(desk) = &mut actor.desk
                    && desk.armed == Some(wakeup)
                {
                    desk.armed = None;
                }
                actor.poll_due(context);
            });
        }
    }

    fn answered(&mut self, answer: Result<Free, AvailabilityError>, context: &mut Context<Self>) {
        let now = self.now();
        let Some(desk) = &mut self.desk else { return };
        log_room(desk.schedule.room(), &answer);
        self.shared.counters.availability_poll(answer.as_ref().map_or_else(|error| error.kind.label(), |_| "ok"));
        let ready = desk.schedule.poll_ended(answer, now);
        let has_room = desk.schedule.has_room();
        let held = !has_room && desk.schedule.standing(now).phase == Phase::Waiting;
        if held && !desk.held {
            log::info!("holding back: {}", desk.schedule.standing(now).reason);
        }
        desk.held = held;
        for (since, answer) in std::mem::take(&mut desk.asking) {
            if has_room {
                self.flush(since, answer, context);
            } else {
                self.refuse(answer);
            }
        }
        self.push(ready, Reason::Available, context);
        self.poll_due(context);
    }

    /// Leases what is pending for `receivers` and delivers it.
    fn push(&mut self, receivers: Vec<ReceiverId>, reason: Reason, context: &mut Context<Self>) {
        let now = self.now().mono;
        let Some(desk) = &mut self.desk else { return };
        let receivers: Vec<_> = receivers.into_iter().filter(|id| !desk.schedule.is_in_flight(id)).collect();
        if receivers.is_empty() || desk.draining {
            return;
        }
        for receiver in &receivers {
            desk.schedule.push_started(receiver, now);
        }
        let settings = desk.schedule.settings();
        let available = match desk.schedule.room() {
            Room::Known { free, .. } => Some(free.slots(settings.min_available)),
            Room::Unknown { .. } | Room::Unasked => None,
        };
        let availability = AvailabilityNote { available, min_available: settings.min_available };
        let cooling = match reason {
            Reason::Available => {
                receivers.iter().filter(|id| desk.schedule.cooling_until(id, now).is_some()).cloned().collect()
            }
            Reason::Flush => Vec::new(),
        };
        let recogniser = |id: &ReceiverId| Some((id.clone(), desk.receivers.get(id)?.recognised_by()?.to_owned()));
        let message = Lease {
            receivers: receivers.clone(),
            cooling,
            recognised_by: receivers.iter().filter_map(recogniser).collect(),
            reason,
            availability,
            cooldown: desk.schedule.longest_cooldown(),
        };
        let supervisor = self.supervisor.clone();
        let lease = async move { supervisor.send(message).await };
        context.spawn(wrap_future(lease).map(move |leased, actor: &mut Self, context| {
            failpoint!("scheduler.future");
            match leased {
                Ok(Ok(leased)) => actor.deliver(&receivers, &leased, context),
                Ok(Err(_)) | Err(_) => actor.abandon(&receivers, context),
            }
        }));
    }

    /// Nothing could be leased, so nothing is sent. The demand is still there: the next poll tries again.
    fn abandon(&mut self, receivers: &[ReceiverId], context: &mut Context<Self>) {
        let Some(desk) = &mut self.desk else { return };
        for receiver in receivers {
            desk.schedule.push_abandoned(receiver);
        }
        for flush in &mut desk.flushes {
            flush.now.retain(|receiver| !receivers.contains(receiver));
        }
        self.after_push(context);
    }

    fn deliver(&mut self, receivers: &[ReceiverId], leased: &Leased, context: &mut Context<Self>) {
        let now = self.now();
        let Some(desk) = &mut self.desk else { return };
        desk.take_demands(&leased.demands);
        for id in receivers {
            let (Some(document), Some(receiver)) = (leased.documents.get(id), desk.receivers.get(id)) else {
                desk.schedule.push_abandoned(id);
                for flush in &mut desk.flushes {
                    flush.now.retain(|other| other != id);
                }
                continue;
            };
            self.shared.events.emit(
                now.wall,
                Event::Pushing {
                    receiver: id.clone(),
                    batch_id: document.envelope.batch_id,
                    reason: document.envelope.reason,
                    projections: document.changes.iter().map(|change| change.projection.clone()).collect(),
                },
            );
            let (receiver, document, clock) =
                (Rc::clone(receiver), Arc::clone(document), Arc::clone(&self.shared.clock));
            let attempt = async move {
                failpoint!("deliver.call");
                let result = CatchPanic(receiver.deliver(&document)).await.unwrap_or_else(|panic| {
                    Err(DeliveryError {
                        kind: DeliveryErrorKind::Retry { after: None },
                        reached: Reached::Maybe,
                        message: format!("the receiver panicked: {panic}"),
                    })
                });
                failpoint!("deliver.answered");
                Attempt {
                    receiver: receiver.id().clone(),
                    best_effort: receiver.guarantee() == Guarantee::BestEffort,
                    took: clock.now().mono.saturating_sub(now.mono),
                    document,
                    result,
                }
            };
            context.spawn(wrap_future(attempt).map(|attempt, actor: &mut Self, context| {
                failpoint!("scheduler.future");
                actor.settle(attempt, context);
            }));
        }
        self.after_push(context);
    }

    /// Makes durable what came of an attempt.
    fn settle(&mut self, attempt: Attempt, context: &mut Context<Self>) {
        failpoint!("scheduler.settle");
        let now = self.now();
        let Some(desk) = &self.desk else { return };
        let judged = attempt.judge();
        let message = Settle {
            settlement: judged.settlement,
            cooldown: judged.cools.then(|| desk.schedule.cooldown_left(&attempt.receiver, now.mono)),
            delivery: Delivery {
                at: now.wall,
                receiver: attempt.receiver.clone(),
                batch_id: attempt.document.envelope.batch_id,
                reason: attempt.document.envelope.reason,
                changes: attempt.document.changes.len(),
                outcome: judged.outcome,
                detail: judged.detail.clone(),
                took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            },
        };
        let supervisor = self.supervisor.clone();
        let settle = async move {
            // What a receiver was told must not be forgotten while this process lives: it would be told again.
            loop {
                if let Ok(Ok(demands)) = supervisor.send(message.clone()).await {
                    return demands;
                }
                actix_rt::time::sleep(STORE_DELAY).await;
            }
        };
        context.spawn(wrap_future(settle).map(move |demands, actor: &mut Self, context| {
            failpoint!("scheduler.future");
            actor.settled(&attempt, judged, &demands, context);
        }));
    }

    fn settled(&mut self, attempt: &Attempt, judged: Judged, demands: &Demands, context: &mut Context<Self>) {
        let now = self.now();
        let Some(desk) = &mut self.desk else { return };
        desk.take_demands(demands);
        desk.schedule.push_ended(&attempt.receiver, judged.delivered, now.mono, fastrand::f64());
        let previous = desk.last.get(&attempt.receiver);
        log_delivery(attempt, &judged, previous);
        let (failures, failing_since) = match judged.outcome {
            Outcome::Delivered => (0, None),
            _ => {
                let since = previous.and_then(|last| last.failing_since).unwrap_or(now.wall);
                (previous.map_or(0, |last| last.failures).saturating_add(1), Some(since))
            }
        };
        let flushed = FlushedBatch {
            receiver: attempt.receiver.clone(),
            batch_id: attempt.document.envelope.batch_id,
            changes: attempt.document.changes.len(),
            outcome: judged.outcome,
            detail: judged.detail.clone(),
        };
        for flush in &mut desk.flushes {
            if let Some(index) = flush.now.iter().position(|receiver| *receiver == attempt.receiver) {
                flush.now.swap_remove(index);
                flush.report.add(flushed.clone());
            }
        }
        let delivery = LastDelivery { at: now.wall, outcome: judged.outcome, detail: judged.detail };
        let last = Last { ended: now.mono, flushed, delivery, failures, failing_since };
        desk.last.insert(attempt.receiver.clone(), last);
        self.after_push(context);
    }

    /// Pushes to everybody that something is pending for; `answer` gets the report when all pushes have ended, also
    /// those that were under way before. What has been pushed `since` the flush was asked for is in it, too: its own
    /// sweep may have found what the scheduler pushed at once.
    fn flush(&mut self, since: Duration, answer: Answer, context: &mut Context<Self>) {
        // A flush that comes during the shutdown is dropped, which tells its sender.
        let Some(desk) = self.desk.as_mut().filter(|desk| !desk.draining) else { return };
        let FlushTargets { ready, busy, served } = desk.schedule.flush_targets();
        let now = ready.iter().cloned().chain(served).collect();
        let mut report = FlushReport::default();
        for last in desk.last.values().filter(|last| last.ended > since) {
            report.add(last.flushed.clone());
        }
        desk.flushes.push(PendingFlush { later: busy, now, report, answer });
        self.push(ready, Reason::Flush, context);
        self.after_push(context);
    }

    fn refuse(&self, answer: Answer) {
        let reason = self.desk.as_ref().map_or_else(String::new, |desk| desk.schedule.room_in_words());
        // Whoever asked may have gone away.
        let _ = answer.send(Err(ControlError::Busy(reason)));
    }

    /// Goes on with what waited for a push to end: flushes, the shutdown, another setup, the next poll.
    fn after_push(&mut self, context: &mut Context<Self>) {
        let Some(desk) = &mut self.desk else { return };
        let mut targets = Vec::new();
        for flush in &mut desk.flushes {
            let ready = desk.schedule.flush_targets().ready;
            let later = std::mem::take(&mut flush.later);
            let (later, free): (Vec<_>, Vec<_>) = later.into_iter().partition(|id| desk.schedule.is_in_flight(id));
            let free: Vec<_> = free.into_iter().filter(|id| ready.contains(id)).collect();
            flush.later = later;
            flush.now.extend(free.iter().cloned());
            targets.extend(free);
        }
        let (done, open): (Vec<_>, Vec<_>) = std::mem::take(&mut desk.flushes)
            .into_iter()
            .partition(|flush| flush.now.is_empty() && flush.later.is_empty());
        desk.flushes = open;
        for flush in done {
            // Whoever asked may have gone away.
            let _ = flush.answer.send(Ok(flush.report));
        }
        if !targets.is_empty() {
            targets.sort();
            targets.dedup();
            self.push(targets, Reason::Flush, context);
        }
        if let Some(desk) = self.desk.as_mut().filter(|desk| !desk.schedule.is_pushing()) {
            for drained in desk.drained.drain(..) {
                let _ = drained.send(());
            }
            if desk.outdated && desk.flushes.is_empty() {
                self.last = std::mem::take(&mut desk.last);
                self.desk = None;
                self.reopen(context);
            }
        }
        self.poll_due(context);
    }

    fn publish(&mut self) {
        let now = self.now();
        let Some(desk) = &mut self.desk else { return };
        let standing = desk.schedule.standing(now);
        // While the answer is on its way, nobody knows how things stand.
        if !desk.schedule.is_polling() && desk.standing.as_ref() != Some(&standing) {
            if desk.standing.as_ref().is_none_or(|before| before.phase != standing.phase) {
                desk.since = Some(now.wall);
            }
            let event = Event::Standing { phase: standing.phase, reason: standing.reason.clone() };
            self.shared.events.emit(now.wall, event);
            desk.standing = Some(standing.clone());
        }
        self.shared.board.scheduler.set(desk.status(standing, now));
    }
}

/// Logs the availability on its edges.
fn log_room(previous: &Room, answer: &Result<Free, AvailabilityError>) {
    match (previous, answer) {
        (Room::Unknown { error, .. }, Err(again)) if error.has_the_cause_of(again) => {}
        (_, Err(error)) => log::warn!("availability unknown, nothing is pushed: {error}"),
        (Room::Unknown { .. }, Ok(_)) => log::info!("availability known again"),
        (_, Ok(_)) => {}
    }
}

impl Actor for SchedulerActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        failpoint!("scheduler.started");
        self.shared.board.runs(SCHEDULER);
        self.reopen(context);
    }
}

impl Supervised for SchedulerActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        *self = Self::new(Arc::clone(&self.shared), self.supervisor.clone());
    }
}

impl Handler<DemandChanged> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, DemandChanged(demands): DemandChanged, context: &mut Self::Context) {
        failpoint!("scheduler.handler");
        match &mut self.desk {
            Some(desk) => desk.take_demands(&demands),
            None if demands.revision > self.missed.demands.revision => self.missed.demands = demands,
            None => {}
        }
        self.poll_due(context);
    }
}

impl Handler<SetPaused> for SchedulerActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, SetPaused(paused): SetPaused, context: &mut Self::Context) -> Self::Result {
        match &mut self.desk {
            Some(desk) => desk.schedule.pause(paused),
            None => self.missed.paused = Some(paused),
        }
        let now = self.now().wall;
        self.shared.events.emit(now, Event::Paused { paused });
        self.poll_due(context);
        Ok(())
    }
}

impl Handler<FlushNow> for SchedulerActor {
    type Result = ResponseFuture<Result<FlushReport, ControlError>>;

    fn handle(&mut self, FlushNow { since, when_available }: FlushNow, context: &mut Self::Context) -> Self::Result {
        let (answer, done) = oneshot::channel();
        match &mut self.desk {
            Some(desk) if when_available => {
                desk.asking.push((since, answer));
                self.poll_due(context);
            }
            _ => self.flush(since, answer, context),
        }
        Box::pin(async move { done.await.unwrap_or(Err(ControlError::NoAnswer("scheduler"))) })
    }
}

impl Handler<Drain> for SchedulerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, context: &mut Self::Context) -> Self::Result {
        let (drained, done) = oneshot::channel();
        if let Some(desk) = &mut self.desk {
            desk.draining = true;
            desk.drained.push(drained);
            self.after_push(context);
        }
        Box::pin(async move {
            // Dropped unsent means that nothing was under way.
            let _ = done.await;
        })
    }
}

impl Handler<Reconfigure> for SchedulerActor {
    type Result = ();

    /// Begins anew with the new setup, once what is under way has ended.
    fn handle(&mut self, _: Reconfigure, context: &mut Self::Context) {
        if let Some(desk) = &mut self.desk {
            desk.outdated = true;
        }
        self.after_push(context);
    }
}

impl Handler<Ping> for SchedulerActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
