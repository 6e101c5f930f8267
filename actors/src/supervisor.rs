//! The SupervisorActor stands between all others: it starts them, routes their messages and decides what becomes of one
//! that panics.
//!
//! A message that was lost in a panic of its receiver is sent again; every message may be handled twice without harm.
//! After a few tries it is given up, so that poison cannot loop, and the sender is told.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, Addr, AsyncContext as _, Context, Handler, MailboxError, Message, MessageResult, ResponseFuture, Supervised,
    dev::ToEnvelope,
};
use futures_util::{StreamExt as _, future::LocalBoxFuture};

use crate::{
    events::Event,
    failpoint::failpoint,
    handle::Ended,
    messages::{
        ControlError, DemandChanged, Demands, Drain, EventMessage, Flush, FlushNow, FlushReport, GetPending, GetStatus,
        Lease, Leased, Panicked, Pause, Ping, PollNow, ProjectionChanged, Recall, Reconfigure, Reload, Reopen,
        Reopened, Resume, SetPaused, Settle, Shutdown, Stop, Subscribe,
    },
    model::key::ProjectionKey,
    pending::PendingActor,
    scheduler::SchedulerActor,
    shared::{Life, Shared},
    status::{ActorState, PanicNote},
    store::ObservedHead,
    supervision::{Intensity, Judge, Panic, Verdict, start},
    watcher::WatcherActor,
};

/// How long an actor may take to answer; longer than any of its own timeouts.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a message is sent to an actor that panics over it.
const TRIES: usize = 3;

/// Room for messages before senders wait. Nothing floods an actor: each sender has one message under way.
const MAILBOX: usize = 64;

/// The names of the actors, in status, logs and metrics.
pub(crate) const SUPERVISOR: &str = "supervisor";
const WATCHER: &str = "watcher";
const PENDING: &str = "pending";
const SCHEDULER: &str = "scheduler";

/// The root of the actor system. Send it the messages [for everybody](crate::messages); its address stays good over every
/// restart.
pub struct SupervisorActor {
    shared: Arc<Shared>,
    life: Arc<Life>,
    /// Their addresses survive every restart, also this actor's own.
    children: Option<Children>,
    /// The shutdown has begun: only what ends is still carried out.
    ending: bool,
    intensities: HashMap<&'static str, Intensity>,
}

#[derive(Clone)]
struct Children {
    watcher: Addr<WatcherActor>,
    pending: Addr<PendingActor>,
    scheduler: Addr<SchedulerActor>,
}

impl SupervisorActor {
    /// Starts the whole system on this thread's arbiter.
    pub(crate) fn launch(shared: Arc<Shared>, life: &Arc<Life>) -> Addr<Self> {
        let judge = OwnJudge {
            shared: Arc::clone(&shared),
            life: Arc::clone(life),
            intensity: RefCell::new(Intensity::new(shared.restarts)),
        };
        let halted = shared.halted();
        let actor = Self { shared, life: Arc::clone(life), children: None, ending: false, intensities: HashMap::new() };
        start(actor, MAILBOX, judge, halted)
    }

    fn launch_children(&self, own: &Addr<Self>) -> Children {
        let judge = |actor| ChildJudge { actor, supervisor: own.clone(), life: Arc::clone(&self.life) };
        let shared = || Arc::clone(&self.shared);
        for actor in [SUPERVISOR, WATCHER, PENDING, SCHEDULER] {
            self.shared.board.update_actor(actor, |_| ());
        }
        Children {
            pending: start(PendingActor::new(shared()), MAILBOX, judge(PENDING), self.shared.halted()),
            watcher: start(WatcherActor::new(shared(), own.clone()), MAILBOX, judge(WATCHER), self.shared.halted()),
            scheduler: start(
                SchedulerActor::new(shared(), own.clone()),
                MAILBOX,
                judge(SCHEDULER),
                self.shared.halted(),
            ),
        }
    }

    /// Like [`with_children`](Self::with_children), for what is asked from outside.
    fn unless_ending<T, F>(&self, work: impl FnOnce(Children) -> F) -> ResponseFuture<Result<T, ControlError>>
    where
        T: 'static,
        F: Future<Output = Result<T, ControlError>> + 'static,
    {
        if self.ending { Box::pin(async { Err(ControlError::Ended) }) } else { self.with_children(work) }
    }

    /// Hands `work` the children's addresses and answers with what it returns.
    fn with_children<T, F>(&self, work: impl FnOnce(Children) -> F) -> ResponseFuture<Result<T, ControlError>>
    where
        T: 'static,
        F: Future<Output = Result<T, ControlError>> + 'static,
    {
        failpoint!("supervisor.handler");
        match &self.children {
            Some(children) => Box::pin(work(children.clone())),
            None => Box::pin(async { Err(ControlError::Ended) }),
        }
    }
}

/// Sends `message` until it is answered, a few times at most.
async fn ask<A, M, T>(name: &'static str, actor: &Addr<A>, message: M) -> Result<T, ControlError>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message<Result = Result<T, ControlError>> + Clone + Send + 'static,
    T: Send + 'static,
{
    for _ in 0..TRIES {
        match actor.send(message.clone()).timeout(ASK_TIMEOUT).await {
            Ok(answer) => return answer,
            // It panicked over this message, or over the one before; it is restarted.
            Err(MailboxError::Closed) => {}
            Err(MailboxError::Timeout) => break,
        }
    }
    log::error!("the {name} did not answer");
    Err(ControlError::NoAnswer(name))
}

/// Judges a child: asks the supervisor.
struct ChildJudge {
    actor: &'static str,
    supervisor: Addr<SupervisorActor>,
    life: Arc<Life>,
}

impl Judge for ChildJudge {
    fn judge(&self, panic: Panic) -> LocalBoxFuture<'_, Verdict> {
        Box::pin(async move {
            let question = Panicked { actor: self.actor, panic: panic.clone() };
            for _ in 0..TRIES {
                match self.supervisor.send(question.clone()).timeout(ASK_TIMEOUT).await {
                    Ok(verdict) => return verdict,
                    Err(MailboxError::Closed) => {}
                    Err(MailboxError::Timeout) => break,
                }
            }
            self.life.end(Ended::Escalated { actor: self.actor, panic });
            Verdict::GiveUp
        })
    }
}

/// Judges the supervisor: there is nobody to ask.
struct OwnJudge {
    shared: Arc<Shared>,
    life: Arc<Life>,
    intensity: RefCell<Intensity>,
}

impl Judge for OwnJudge {
    fn judge(&self, panic: Panic) -> LocalBoxFuture<'_, Verdict> {
        let verdict = judge(&self.shared, SUPERVISOR, panic, &mut self.intensity.borrow_mut(), &self.life);
        Box::pin(async move { verdict })
    }
}

/// The verdict on a panic: counted, logged, shown; beyond the intensity the dispatcher ends.
fn judge(shared: &Shared, actor: &'static str, panic: Panic, intensity: &mut Intensity, life: &Life) -> Verdict {
    let now = shared.clock.now();
    let verdict = intensity.judge(now.mono);
    shared.board.update_actor(actor, |status| {
        status.last_panic =
            Some(PanicNote { at: now.wall, message: panic.message.clone(), location: panic.location.clone() });
        match verdict {
            Verdict::Restart(_) => {
                status.state = ActorState::Restarting;
                status.restarts += 1;
            }
            Verdict::GiveUp => status.state = ActorState::GivenUp,
        }
    });
    match verdict {
        Verdict::Restart(delay) => {
            log::error!("the {actor} panicked and is restarted in {} ms: {panic}", delay.as_millis());
            shared.events.emit(now.wall, Event::Restarted { actor, panic: panic.to_string() });
        }
        Verdict::GiveUp => {
            log::error!("the {actor} panicked too often; the dispatcher ends: {panic}");
            life.end(Ended::Escalated { actor, panic });
        }
    }
    verdict
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        failpoint!("supervisor.started");
        if self.children.is_none() {
            self.children = Some(self.launch_children(&context.address()));
        }
        self.shared.board.update_actor(SUPERVISOR, |status| status.state = ActorState::Running);
    }
}

impl Supervised for SupervisorActor {
    fn restarting(&mut self, _: &mut Self::Context) {}
}

impl Handler<Panicked> for SupervisorActor {
    type Result = MessageResult<Panicked>;

    fn handle(&mut self, Panicked { actor, panic }: Panicked, _: &mut Self::Context) -> Self::Result {
        let policy = self.shared.restarts;
        let intensity = self.intensities.entry(actor).or_insert_with(|| Intensity::new(policy));
        MessageResult(judge(&self.shared, actor, panic, intensity, &self.life))
    }
}

impl Handler<ProjectionChanged> for SupervisorActor {
    type Result = ResponseFuture<Result<Demands, ControlError>>;

    /// To the pending actor, until it is durable; then a nudge for the scheduler.
    fn handle(&mut self, message: ProjectionChanged, _: &mut Self::Context) -> Self::Result {
        self.with_children(|children| async move {
            let demands = ask(PENDING, &children.pending, message).await?;
            // A scheduler that misses it is restarting, and asks by itself what is pending.
            children.scheduler.do_send(DemandChanged(demands.clone()));
            Ok(demands)
        })
    }
}

impl Handler<Recall> for SupervisorActor {
    type Result = ResponseFuture<Result<std::collections::BTreeMap<ProjectionKey, ObservedHead>, ControlError>>;

    fn handle(&mut self, message: Recall, _: &mut Self::Context) -> Self::Result {
        self.with_children(|children| async move { ask(PENDING, &children.pending, message).await })
    }
}

impl Handler<Reopen> for SupervisorActor {
    type Result = ResponseFuture<Result<Reopened, ControlError>>;

    fn handle(&mut self, message: Reopen, _: &mut Self::Context) -> Self::Result {
        self.with_children(|children| async move { ask(PENDING, &children.pending, message).await })
    }
}

impl Handler<Lease> for SupervisorActor {
    type Result = ResponseFuture<Result<Leased, ControlError>>;

    fn handle(&mut self, message: Lease, _: &mut Self::Context) -> Self::Result {
        self.with_children(|children| async move { ask(PENDING, &children.pending, message).await })
    }
}

impl Handler<Settle> for SupervisorActor {
    type Result = ResponseFuture<Result<Demands, ControlError>>;

    fn handle(&mut self, message: Settle, _: &mut Self::Context) -> Self::Result {
        self.with_children(|children| async move { ask(PENDING, &children.pending, message).await })
    }
}

impl Handler<Flush> for SupervisorActor {
    type Result = ResponseFuture<Result<FlushReport, ControlError>>;

    /// One fresh sweep, then the push.
    fn handle(&mut self, Flush { when_available }: Flush, _: &mut Self::Context) -> Self::Result {
        self.unless_ending(|children| async move {
            if let Err(error) = ask(WATCHER, &children.watcher, PollNow).await {
                log::warn!("flushing what is known, without a fresh poll: {error}");
            }
            // Not `ask`: a flush takes as long as its receivers.
            let pushed = children.scheduler.send(FlushNow { when_available }).await;
            pushed.unwrap_or(Err(ControlError::NoAnswer(SCHEDULER)))
        })
    }
}

impl Handler<PollNow> for SupervisorActor {
    type Result = ResponseFuture<Result<(), ControlError>>;

    fn handle(&mut self, message: PollNow, _: &mut Self::Context) -> Self::Result {
        self.unless_ending(|children| async move { ask(WATCHER, &children.watcher, message).await })
    }
}

impl Handler<Pause> for SupervisorActor {
    type Result = ResponseFuture<Result<(), ControlError>>;

    fn handle(&mut self, _: Pause, _: &mut Self::Context) -> Self::Result {
        self.unless_ending(|children| set_paused(children, true))
    }
}

impl Handler<Resume> for SupervisorActor {
    type Result = ResponseFuture<Result<(), ControlError>>;

    fn handle(&mut self, _: Resume, _: &mut Self::Context) -> Self::Result {
        self.unless_ending(|children| set_paused(children, false))
    }
}

async fn set_paused(children: Children, paused: bool) -> Result<(), ControlError> {
    ask(PENDING, &children.pending, SetPaused(paused)).await?;
    ask(SCHEDULER, &children.scheduler, SetPaused(paused)).await
}

impl Handler<Reload> for SupervisorActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, Reload(setup): Reload, _: &mut Self::Context) -> Self::Result {
        let children = self.children.as_ref().filter(|_| !self.ending).ok_or(ControlError::Ended)?;
        setup.check()?;
        self.shared.set_setup(setup);
        // The pending actor first: the others ask it about the receivers that are configured now.
        children.pending.do_send(Reconfigure);
        children.watcher.do_send(Reconfigure);
        children.scheduler.do_send(Reconfigure);
        self.shared.emit(Event::Reloaded);
        Ok(())
    }
}

impl Handler<Ping> for SupervisorActor {
    type Result = ResponseFuture<Result<(), ControlError>>;

    fn handle(&mut self, message: Ping, _: &mut Self::Context) -> Self::Result {
        self.unless_ending(|children| async move {
            ask(PENDING, &children.pending, message).await?;
            ask(WATCHER, &children.watcher, message).await?;
            ask(SCHEDULER, &children.scheduler, message).await
        })
    }
}

impl Handler<GetStatus> for SupervisorActor {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.board.status())
    }
}

impl Handler<GetPending> for SupervisorActor {
    type Result = MessageResult<GetPending>;

    fn handle(&mut self, _: GetPending, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.board.ledger.get().pending(&self.shared.setup()))
    }
}

impl Handler<Subscribe> for SupervisorActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, Subscribe(recipient): Subscribe, _: &mut Self::Context) -> Self::Result {
        let mut events = self.shared.events.stream();
        #[expect(clippy::disallowed_methods, reason = "it ends with the dispatcher's events, or with its listener")]
        actix_rt::spawn(async move {
            while let Some(event) = events.next().await {
                if recipient.send(EventMessage(event)).await.is_err() && !recipient.connected() {
                    break;
                }
            }
        });
        Ok(())
    }
}

impl Handler<Shutdown> for SupervisorActor {
    type Result = ResponseFuture<()>;

    /// The watcher first, so that nothing new comes in; the pending actor last, so that what ends is still stored.
    fn handle(&mut self, Shutdown { grace }: Shutdown, _: &mut Self::Context) -> Self::Result {
        self.ending = true;
        let children = self.children.clone();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let orderly = async {
                let Some(children) = children else { return };
                // Errors only say that an actor is gone: then there is nothing to wait for.
                let _ = children.watcher.send(Stop).await;
                let _ = children.scheduler.send(Drain).await;
                let _ = children.pending.send(Ping).await;
            };
            if actix_rt::time::timeout(grace, orderly).await.is_err() {
                log::warn!("deliveries under way are dropped; they are repeated after the next start");
            }
            // This future with the rest, once it has answered.
            shared.halt();
        })
    }
}
