//! The WatcherActor polls the projections and reports what changed.
//!
//! # Expected flow
//! 1. It asks what was last observed, so that a change made while it was away is found.
//! 2. It polls what is due, many at a time, each projection never twice at once.
//! 3. It gathers what differs and reports it in one message, hence one commit, per sweep; a poll that is slower than the
//!    others is reported later, on its own.
//! 4. Only when the report was answered, so is durable, does it believe the new values, their hashes and ETags.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, ResponseFuture,
    Supervised, fut::wrap_future,
};
use tokio::sync::oneshot;

use crate::{
    clock::Now,
    events::Event,
    failpoint::failpoint,
    messages::{ControlError, Observed, Ping, PollNow, ProjectionChanged, Recall, Reconfigure, Stop},
    model::{
        key::{Projection, ProjectionKey},
        pacing::{Found, PollPlan, Ticket},
        time::Timestamp,
        value::{Digest, Snapshot},
    },
    shared::Shared,
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
    status::{Trouble, WatcherStatus},
    store::ObservedHead,
    supervision::CatchPanic,
    supervisor::SupervisorActor,
};

/// How long changes are gathered while other polls of the sweep are still running.
const GATHER: Duration = Duration::from_millis(250);

/// How long to wait before asking again what was last observed.
const RECALL_DELAY: Duration = Duration::from_secs(1);

/// How many projections one log line names.
const NAMED_IN_LOG: usize = 3;

pub(crate) struct WatcherActor {
    shared: Arc<Shared>,
    supervisor: Addr<SupervisorActor>,
    /// `None` until it is known what was last observed.
    sweep: Option<Sweep>,
    /// Who asked for a poll before that.
    early: Vec<oneshot::Sender<()>>,
}

/// Everything that one incarnation of the watcher knows.
struct Sweep {
    source: Rc<dyn Source>,
    projections: HashMap<ProjectionKey, Arc<Projection>>,
    known: HashMap<ProjectionKey, Known>,
    plan: PollPlan,
    /// How many polls are running.
    polling: usize,
    /// What differs and is not reported yet.
    outbox: Vec<Observed>,
    /// A report is on its way; there is never a second one.
    reporting: bool,
    /// The earliest timer that is set.
    armed: Option<Duration>,
    gathering: bool,
    /// Who wants to know when every projection has been polled.
    waiting: Vec<(Ticket, oneshot::Sender<()>)>,
    troubles: BTreeMap<ProjectionKey, Trouble>,
    /// Edges not logged yet, to be logged together.
    edges: Vec<Edge>,
    polls: u64,
    last_poll: Option<Timestamp>,
    /// When the first of the running polls started.
    began: Duration,
    last_sweep: Option<Duration>,
}

/// What is believed of a projection, because it is durable.
#[derive(Clone, Debug, Default)]
struct Known {
    /// `None` if it has no value.
    digest: Option<Digest>,
    validators: Validators,
}

enum Edge {
    Failing(ProjectionKey, SourceErrorKind, String),
    Recovered(ProjectionKey, u32),
}

impl WatcherActor {
    pub(crate) fn new(shared: Arc<Shared>, supervisor: Addr<SupervisorActor>) -> Self {
        Self { shared, supervisor, sweep: None, early: Vec::new() }
    }

    fn now(&self) -> Duration {
        self.shared.clock.now().mono
    }

    fn recall(&self, context: &mut Context<Self>) {
        let supervisor = self.supervisor.clone();
        let recall = async move {
            loop {
                if let Ok(Ok(heads)) = supervisor.send(Recall).await {
                    return heads;
                }
                actix_rt::time::sleep(RECALL_DELAY).await;
            }
        };
        context.spawn(wrap_future(recall).map(|heads, actor: &mut Self, context| {
            failpoint!("watcher.future");
            actor.begin(&heads, context);
        }));
    }

    fn begin(&mut self, heads: &BTreeMap<ProjectionKey, ObservedHead>, context: &mut Context<Self>) {
        let setup = self.shared.setup();
        let projections: HashMap<_, _> = setup
            .settings
            .projections
            .iter()
            .map(|projection| (projection.key.clone(), Arc::new(projection.clone())))
            .collect();
        // A value that was read in another way says nothing about this one.
        let known = heads
            .iter()
            .filter(|(key, head)| projections.get(*key).is_some_and(|projection| projection.view() == head.view))
            .map(|(key, head)| (key.clone(), Known { digest: head.digest, validators: head.validators.clone() }))
            .collect();
        self.sweep = Some(Sweep {
            source: (setup.source)().into(),
            plan: PollPlan::new(setup.settings.watch, projections.keys().cloned(), self.now()),
            projections,
            known,
            polling: 0,
            outbox: Vec::new(),
            reporting: false,
            armed: None,
            gathering: false,
            waiting: Vec::new(),
            troubles: BTreeMap::new(),
            edges: Vec::new(),
            polls: 0,
            last_poll: None,
            began: Duration::ZERO,
            last_sweep: None,
        });
        for answer in std::mem::take(&mut self.early) {
            self.poll_all(answer);
        }
        self.poll_due(context);
    }

    /// Starts the polls that are due and sets the timer for the next ones.
    fn poll_due(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let Some(sweep) = &mut self.sweep else { return };
        for key in sweep.plan.start_due(now) {
            let Some(projection) = sweep.projections.get(&key).cloned() else { continue };
            let validators = sweep.known.get(&key).map(|known| known.validators.clone()).unwrap_or_default();
            let source = Rc::clone(&sweep.source);
            if sweep.polling == 0 {
                sweep.began = now;
            }
            sweep.polling += 1;
            let poll = async move {
                let answer = CatchPanic(source.observe(&projection, &validators)).await;
                let answer = answer.unwrap_or_else(|panic| {
                    Err(SourceError::new(SourceErrorKind::Internal, format!("the source panicked: {panic}")))
                });
                (projection, answer)
            };
            context.spawn(wrap_future(poll).map(|(projection, answer), actor: &mut Self, context| {
                failpoint!("watcher.future");
                actor.polled(&projection, answer, context);
            }));
        }
        self.arm(context);
    }

    /// Makes every projection due, and answers when all of them have been polled.
    fn poll_all(&mut self, answer: oneshot::Sender<()>) {
        let now = self.now();
        match &mut self.sweep {
            Some(sweep) => sweep.waiting.push((sweep.plan.request_all(now), answer)),
            None => self.early.push(answer),
        }
    }

    fn arm(&mut self, context: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let Some(sweep) = &mut self.sweep else { return };
        let wakeup = sweep.plan.next_wakeup();
        // Once a sweep, not once a poll.
        if sweep.polling == 0 || !sweep.gathering {
            self.shared.board.watcher.set(sweep.status(now));
        }
        let Some(wakeup) = wakeup else { return };
        // Timers are never cancelled: one that fires early finds nothing due and sets the next.
        if sweep.armed.is_none_or(|armed| wakeup < armed) {
            sweep.armed = Some(wakeup);
            context.run_later(wakeup.saturating_sub(now.mono), move |actor, context| {
                failpoint!("watcher.timer");
                if let Some(sweep) = &mut actor.sweep
                    && sweep.armed == Some(wakeup)
                {
                    sweep.armed = None;
                }
                actor.poll_due(context);
            });
        }
    }

    /// Takes over what one poll found.
    fn polled(
        &mut self,
        projection: &Projection,
        answer: Result<Observation, SourceError>,
        context: &mut Context<Self>,
    ) {
        let now = self.shared.clock.now();
        let Some(sweep) = &mut self.sweep else { return };
        sweep.polling -= 1;
        sweep.polls += 1;
        sweep.last_poll = Some(now.wall);
        if sweep.polling == 0 {
            let took = now.mono.saturating_sub(sweep.began);
            sweep.last_sweep = Some(took);
            self.shared.counters.sweep(took);
        }
        let count = |outcome| self.shared.counters.poll(outcome);
        let key = &projection.key;
        let known = sweep.known.get(key);
        match answer {
            Ok(Observation::Unchanged) => {
                count("unchanged");
                sweep.finish(key, Found::Value { changed: false }, now.mono);
            }
            Ok(Observation::Present { value, validators }) => {
                let snapshot = Snapshot::new(value, &projection.ignore);
                match sweep.known.get_mut(key) {
                    Some(known) if known.digest == Some(snapshot.digest()) => {
                        known.validators = validators;
                        count("unchanged");
                        sweep.finish(key, Found::Value { changed: false }, now.mono);
                    }
                    // The poll ends when the report is answered.
                    _ => {
                        count("changed");
                        sweep.plan.answered(key);
                        sweep.outbox.push(Observed {
                            key: key.clone(),
                            state: Some(snapshot),
                            validators,
                            view: projection.view(),
                            at: now.wall,
                        });
                    }
                }
            }
            Ok(Observation::Absent) => {
                count("absent");
                let is_news = known.is_none_or(|known| known.digest.is_some());
                sweep.finish(key, Found::Nothing, now.mono);
                if is_news && sweep.plan.is_gone(key) {
                    sweep.outbox.push(Observed {
                        key: key.clone(),
                        state: None,
                        validators: Validators::default(),
                        view: projection.view(),
                        at: now.wall,
                    });
                }
            }
            Err(error) => {
                count(error.kind.label());
                sweep.fail(key, error, now);
            }
        }
        self.after_poll(context);
    }

    /// Reports what was gathered, if it is time, and goes on.
    fn after_poll(&mut self, context: &mut Context<Self>) {
        let Some(sweep) = &mut self.sweep else { return };
        if sweep.polling == 0 {
            self.gathered(context);
        } else if !sweep.gathering && (!sweep.outbox.is_empty() || !sweep.edges.is_empty()) {
            sweep.gathering = true;
            context.run_later(GATHER, |actor, context| {
                failpoint!("watcher.timer");
                actor.gathered(context);
            });
        }
        self.answer_waiting();
        self.poll_due(context);
    }

    fn gathered(&mut self, context: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let Some(sweep) = &mut self.sweep else { return };
        sweep.gathering = false;
        for edge in &sweep.edges {
            let event = match edge {
                Edge::Failing(projection, kind, message) => {
                    Event::PollFailing { projection: projection.clone(), error: kind.label(), message: message.clone() }
                }
                Edge::Recovered(projection, failures) => {
                    Event::PollRecovered { projection: projection.clone(), failures: *failures }
                }
            };
            self.shared.events.emit(now.wall, event);
        }
        log_edges(std::mem::take(&mut sweep.edges));
        if sweep.reporting || sweep.outbox.is_empty() {
            return;
        }
        sweep.reporting = true;
        let observations: Arc<[Observed]> = std::mem::take(&mut sweep.outbox).into();
        let supervisor = self.supervisor.clone();
        let report = async move {
            let answer = supervisor.send(ProjectionChanged { observations: Arc::clone(&observations) }).await;
            (observations, answer.unwrap_or(Err(ControlError::NoAnswer("supervisor"))))
        };
        context.spawn(wrap_future(report).map(|(observations, answer), actor: &mut Self, context| {
            failpoint!("watcher.future");
            actor.reported(&observations, answer.err().as_ref(), context);
        }));
    }

    /// Believes what was reported, if it is durable. Otherwise the next poll finds it again.
    fn reported(&mut self, observations: &[Observed], error: Option<&ControlError>, context: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let Some(sweep) = &mut self.sweep else { return };
        sweep.reporting = false;
        for observed in observations {
            let key = &observed.key;
            if let Some(error) = error {
                let message = format!("what was observed could not be stored: {error}");
                sweep.fail(key, SourceError::new(SourceErrorKind::Internal, message), now);
                continue;
            }
            if !sweep.projections.contains_key(key) {
                continue;
            }
            let digest = observed.state.as_ref().map(Snapshot::digest);
            let first =
                sweep.known.insert(key.clone(), Known { digest, validators: observed.validators.clone() }).is_none();
            if observed.state.is_some() {
                sweep.finish(key, Found::Value { changed: !first }, now.mono);
            } else if !first {
                sweep.plan.saw_change(now.mono);
            }
        }
        self.after_poll(context);
    }

    fn answer_waiting(&mut self) {
        let now = self.now();
        let Some(sweep) = &mut self.sweep else { return };
        for (ticket, answer) in std::mem::take(&mut sweep.waiting) {
            if sweep.plan.is_done(ticket) {
                // Whoever asked may have gone away.
                let _ = answer.send(());
            } else {
                sweep.plan.repeat_for(ticket, now);
                sweep.waiting.push((ticket, answer));
            }
        }
    }
}

impl Sweep {
    fn finish(&mut self, key: &ProjectionKey, found: Found, now: Duration) {
        self.plan.finish(key, found, now, fastrand::f64());
        if let Some(trouble) = self.troubles.remove(key) {
            self.edges.push(Edge::Recovered(key.clone(), trouble.failures));
        }
    }

    fn fail(&mut self, key: &ProjectionKey, error: SourceError, now: Now) {
        let SourceError { kind, message, retry_after } = error;
        self.plan.finish(key, Found::Error { kind, retry_after }, now.mono, fastrand::f64());
        if !self.projections.contains_key(key) {
            return;
        }
        let previous = self.troubles.get(key);
        if previous.is_none_or(|trouble| trouble.error != kind.label()) {
            self.edges.push(Edge::Failing(key.clone(), kind, message.clone()));
        }
        let trouble = Trouble {
            error: kind.label(),
            message,
            since: previous.map_or(now.wall, |trouble| trouble.since),
            failures: previous.map_or(1, |trouble| trouble.failures.saturating_add(1)),
        };
        self.troubles.insert(key.clone(), trouble);
    }

    fn status(&self, now: Now) -> WatcherStatus {
        let interval = self.plan.interval(now.mono);
        WatcherStatus {
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            projections: self.projections.len(),
            last_poll_at: self.last_poll,
            last_sweep_ms: self.last_sweep.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            next_poll_at: self.plan.next_wakeup().map(|at| now.wall + at.saturating_sub(now.mono)),
            polls: self.polls,
            failing: self.troubles.clone(),
        }
    }
}

/// Logs edges, those with the same cause on one line.
fn log_edges(edges: Vec<Edge>) {
    let mut failing: BTreeMap<(SourceErrorKind, String), Vec<ProjectionKey>> = BTreeMap::new();
    let mut recovered = Vec::new();
    for edge in edges {
        match edge {
            Edge::Failing(key, kind, message) => failing.entry((kind, message)).or_default().push(key),
            Edge::Recovered(key, _) => recovered.push(key),
        }
    }
    for ((kind, message), keys) in failing {
        // Nothing mends a refused token but a person.
        let level = if kind == SourceErrorKind::Unauthorized { log::Level::Error } else { log::Level::Warn };
        log::log!(level, "cannot poll {}: {message}", named(&keys));
    }
    if !recovered.is_empty() {
        log::info!("polling {} works again", named(&recovered));
    }
}

/// The keys, or the first of them and how many more.
fn named(keys: &[ProjectionKey]) -> String {
    let names: Vec<_> = keys.iter().take(NAMED_IN_LOG).map(ProjectionKey::as_str).collect();
    match keys.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more projections", names.join(", ")),
    }
}

impl Actor for WatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        failpoint!("watcher.started");
        self.recall(context);
    }
}

impl Supervised for WatcherActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        *self = Self::new(Arc::clone(&self.shared), self.supervisor.clone());
    }
}

impl Handler<PollNow> for WatcherActor {
    type Result = ResponseFuture<Result<(), ControlError>>;

    fn handle(&mut self, _: PollNow, context: &mut Self::Context) -> Self::Result {
        failpoint!("watcher.handler");
        let (answer, done) = oneshot::channel();
        self.poll_all(answer);
        self.answer_waiting();
        self.poll_due(context);
        Box::pin(async move { done.await.map_err(|_| ControlError::NoAnswer("watcher")) })
    }
}

impl Handler<Reconfigure> for WatcherActor {
    type Result = ();

    /// Takes over the new setup: what is still watched keeps its timers and what is known of it.
    fn handle(&mut self, _: Reconfigure, context: &mut Self::Context) {
        let now = self.now();
        let setup = self.shared.setup();
        let Some(sweep) = &mut self.sweep else { return };
        let previous = std::mem::take(&mut sweep.projections);
        for projection in &setup.settings.projections {
            let same = previous.get(&projection.key).is_some_and(|old| **old == *projection);
            if !same {
                sweep.known.remove(&projection.key);
            }
            sweep.projections.insert(projection.key.clone(), Arc::new(projection.clone()));
        }
        sweep.known.retain(|key, _| sweep.projections.contains_key(key));
        sweep.troubles.retain(|key, _| sweep.projections.contains_key(key));
        sweep.source = (setup.source)().into();
        sweep.plan.reconfigure(setup.settings.watch, sweep.projections.keys().cloned(), now);
        sweep.armed = None;
        self.poll_due(context);
    }
}

impl Handler<Ping> for WatcherActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Stop> for WatcherActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}
