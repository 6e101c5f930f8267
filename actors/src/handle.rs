//! The [`Handle`] to a running dispatcher: everything that a host can ask or tell it.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix::{Addr, MailboxError, Recipient};
use futures_util::{
    Stream,
    future::{Either, select},
};
use tokio::sync::{oneshot, watch};

use crate::{
    events::{Event, EventRecord},
    messages::{
        ControlError, EventMessage, Flush, FlushReport, Pause, Ping, PollNow, Reload, Resume, Shutdown, Subscribe,
    },
    setup::Setup,
    shared::Shared,
    status::{PendingReceiver, ProjectionStatus, Status},
    store::{Delivery, StoreError},
    supervision::Panic,
    supervisor::SupervisorActor,
    totals::Totals,
};

/// How much longer than its grace a shutdown waits for an arbiter that somebody blocks.
const BLOCKED: Duration = Duration::from_secs(1);

/// How a dispatcher ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was shut down, or the arbiter that it ran on was stopped.
    Stopped,
    /// An actor panicked more often than the restart policy allows. What is left of the dispatcher should be shut down;
    /// a daemon then ends with an error, another host decides for itself.
    Escalated {
        /// Which.
        actor: &'static str,
        /// Its last panic.
        panic: Panic,
    },
}

/// Talks to a running dispatcher. Cheap to clone, `Send` and `Sync`.
///
/// # Guarantees
/// - Every method may be called from any thread, and every future polled by any executor: neither actix nor tokio is
///   needed where the handle is used.
/// - A future may be dropped at any time. What was asked for then still happens; only the answer is lost.
/// - Dropping handles, also the last one, does not end the dispatcher: it runs on, as a detached task or thread does,
///   and goes on delivering until its arbiter ends. Keep a handle to [shut it down](Self::shutdown).
#[derive(Clone)]
#[must_use = "the handle is the only way to shut the dispatcher down"]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    supervisor: Addr<SupervisorActor>,
    ended: watch::Receiver<Option<Ended>>,
    /// The dispatcher's thread, if it has one of its own.
    thread: Option<Arc<OwnThread>>,
}

impl Handle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        supervisor: Addr<SupervisorActor>,
        ended: watch::Receiver<Option<Ended>>,
    ) -> Self {
        Self { shared, supervisor, ended, thread: None }
    }

    pub(crate) fn on(self, thread: OwnThread) -> Self {
        Self { thread: Some(Arc::new(thread)), ..self }
    }

    /// Polls once, then pushes now, whatever availability and cooldown say.
    ///
    /// Takes as long as the slowest poll and the slowest receiver. Dropping the future does not undo the flush.
    ///
    /// # Errors
    /// If an actor did not answer, or the dispatcher has ended.
    pub async fn flush(&self) -> Result<FlushReport, ControlError> {
        flat(self.supervisor.send(Flush { when_available: false }).await)
    }

    /// Like [`flush`](Self::flush), but only if there is room.
    ///
    /// # Errors
    /// [`ControlError::Busy`] if there is none; else as for `flush`.
    pub async fn flush_when_available(&self) -> Result<FlushReport, ControlError> {
        flat(self.supervisor.send(Flush { when_available: true }).await)
    }

    /// Polls every projection now; returns when all that was found is durable.
    ///
    /// # Errors
    /// If an actor did not answer, or the dispatcher has ended. A projection that cannot be polled is no error here:
    /// see [`projections`](Self::projections).
    pub async fn poll(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(PollNow).await)
    }

    /// Stops pushing; watching goes on. Survives a restart if the store does. A flush pushes all the same.
    ///
    /// # Errors
    /// If it could not be stored, an actor did not answer, or the dispatcher has ended.
    pub async fn pause(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(Pause).await)
    }

    /// Resumes pushing.
    ///
    /// # Errors
    /// As for [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(Resume).await)
    }

    /// Puts another setup in force: projections and receivers that stay keep what is known of them, the rest is begun
    /// anew or forgotten.
    ///
    /// Returns when the setup is accepted; pushes that are under way end by the old one.
    ///
    /// # Errors
    /// [`ControlError::Setup`] if it makes no sense, and then the one before stays in force; or if the dispatcher has
    /// ended.
    pub async fn reload(&self, setup: Setup) -> Result<(), ControlError> {
        flat(self.supervisor.send(Reload(setup)).await)
    }

    /// Returns when every actor has answered.
    ///
    /// # Errors
    /// If one did not, within 30 s each.
    pub async fn ping(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(Ping).await)
    }

    /// The state of everything, from published snapshots: costs the actors nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.board.status()
    }

    /// What every receiver has still to be told, as a push would put it now: from a published snapshot, too.
    ///
    /// What is being pushed at this moment is among it until the receiver has it.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingReceiver> {
        self.shared.board.ledger.get().pending(&self.shared.setup())
    }

    /// Every watched projection. Blocks for as long as reading from the store takes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn projections(&self) -> Result<Vec<ProjectionStatus>, StoreError> {
        let mut observed = self.shared.store.load()?.observed;
        let setup = self.shared.setup();
        let watcher = self.shared.board.watcher.get();
        let status = |projection: &crate::model::key::Projection| {
            let head = observed.remove(&projection.key);
            ProjectionStatus {
                projection: projection.key.clone(),
                name: projection.name.clone(),
                params: projection.params.clone(),
                present: head.as_ref().is_some_and(|head| head.digest.is_some()),
                since: head.map(|head| head.since),
                failing: watcher.failing.get(&projection.key).cloned(),
            }
        };
        Ok(setup.settings.projections.iter().map(status).collect())
    }

    /// The last `limit` deliveries, newest first. Blocks for as long as reading from the store takes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.shared.store.deliveries(limit)
    }

    /// Everything that happens from now on, until the dispatcher ends. A listener that lags more than 1,024 events
    /// behind loses the oldest; the ids show the gap.
    pub fn subscribe(&self) -> impl Stream<Item = Arc<EventRecord>> + Send + Unpin + use<> {
        self.shared.events.stream()
    }

    /// The same for an actor, one [`EventMessage`] at a time: the next is sent when the one before was handled, and a
    /// listener that lags loses the oldest. Ends when the actor does.
    ///
    /// # Errors
    /// If the dispatcher has ended.
    pub async fn subscribe_actor(&self, recipient: Recipient<EventMessage>) -> Result<(), ControlError> {
        flat(self.supervisor.send(Subscribe(recipient)).await)
    }

    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.counters.totals()
    }

    /// Tells every listener that the host has a new configuration of which it could make no setup.
    pub fn reload_refused(&self, message: impl Into<String>) {
        self.shared.emit(Event::ReloadRefused { message: message.into() });
    }

    /// The supervisor, for those who prefer to send messages.
    #[must_use]
    pub fn supervisor(&self) -> Addr<SupervisorActor> {
        self.supervisor.clone()
    }

    /// Waits until the dispatcher ends, and says how.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ended::Stopped),
            Err(_) => Ended::Stopped,
        }
    }

    /// Ends the dispatcher and waits until every actor is gone, and the thread with it if it has one of its own.
    ///
    /// Deliveries under way may take up to `grace`; what is left then is dropped and repeated after the next start.
    /// Nothing makes this take longer than `grace`, but for a source, an availability or a receiver that blocks its
    /// thread: then it returns a second later, and the thread is left behind. Shutting down twice does no harm.
    ///
    /// Dropping the future does not take the shutdown back.
    pub async fn shutdown(&self, grace: Duration) {
        let all = pin!(async {
            // An error says that the supervisor is gone already, perhaps not its children.
            let _ = self.supervisor.send(Shutdown { grace }).await;
            self.shared.halt();
            self.gone().await;
            if let Some(thread) = &self.thread {
                thread.join().await;
            }
        });
        let alarm = pin!(alarm(grace.saturating_add(BLOCKED)));
        if let Either::Right(_) = select(all, alarm).await {
            self.shared.halt();
            log::warn!("the dispatcher's thread is blocked and left behind; what is under way is repeated");
        }
    }

    /// Resolves when no actor is left.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn flat<T>(answer: Result<Result<T, ControlError>, MailboxError>) -> Result<T, ControlError> {
    answer.unwrap_or(Err(ControlError::Ended))
}

/// A dispatcher's own thread.
pub(crate) struct OwnThread {
    handle: Mutex<Option<JoinHandle<()>>>,
    /// Closed as the very last thing that the thread does.
    exited: watch::Receiver<()>,
}

impl OwnThread {
    pub(crate) fn new(handle: JoinHandle<()>, exited: watch::Receiver<()>) -> Self {
        Self { handle: Mutex::new(Some(handle)), exited }
    }

    /// Waits for the thread, without blocking this one.
    async fn join(&self) {
        let mut exited = self.exited.clone();
        while exited.changed().await.is_ok() {}
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            log::error!("the dispatcher's thread panicked");
        }
    }
}

/// Resolves after `time` on any executor and by the real clock, whatever the arbiter does. Costs a thread until it is
/// dropped.
async fn alarm(time: Duration) {
    let (ring, rings) = oneshot::channel();
    let (_dropped, off) = mpsc::channel::<()>();
    let wait = move || {
        if off.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Whoever set it may have gone away.
            let _ = ring.send(());
        }
    };
    let thread = thread::Builder::new().name("ograph-dispatcher-alarm".to_owned()).spawn(wait);
    match thread {
        Ok(_) if rings.await.is_ok() => {}
        // Without a thread there is no alarm.
        _ => std::future::pending().await,
    }
}
