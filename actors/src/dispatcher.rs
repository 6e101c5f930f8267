//! The front door: a [`Dispatcher`] is built, started, and talked to through its [`Handle`].

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Addr, MailboxError};
use futures_util::Stream;
use tokio::sync::watch;

use crate::{
    availability::Availability,
    clock::{Clock, SystemClock},
    events::{Event, EventBus, EventRecord},
    messages::{ControlError, Flush, FlushReport, Pause, Ping, PollNow, Reload, Resume, Shutdown},
    model::receiver::ReceiverId,
    receivers::Receiver,
    settings::Settings,
    source::Source,
    status::{Board, Status},
    store::{Delivery, Store, StoreError},
    supervision::{Panic, RestartPolicy},
    supervisor::SupervisorActor,
};

/// Makes a source on the arbiter's thread; called again when the watcher is restarted.
pub type SourceFactory = Arc<dyn Fn() -> Box<dyn Source> + Send + Sync>;
/// Makes an availability on the arbiter's thread; called again when the scheduler is restarted.
pub type AvailabilityFactory = Arc<dyn Fn() -> Box<dyn Availability> + Send + Sync>;
/// Makes a receiver on the arbiter's thread; called again when the scheduler is restarted.
pub type ReceiverFactory = Arc<dyn Fn() -> Box<dyn Receiver> + Send + Sync>;

/// What to watch, whom to ask and whom to tell: all that a reload replaces.
///
/// The parts are made by factories, on the thread of the actors that use them, because HTTP clients cannot move between
/// threads.
#[derive(Clone)]
pub struct Setup {
    /// Plain settings.
    pub settings: Settings,
    /// Where the projections come from.
    pub source: SourceFactory,
    /// Who knows how much room there is.
    pub availability: AvailabilityFactory,
    /// Who is told. Their ids are unique.
    pub receivers: Vec<ReceiverFactory>,
}

impl Setup {
    /// A setup without receivers.
    pub fn new<S, A>(
        settings: Settings,
        source: impl Fn() -> S + Send + Sync + 'static,
        availability: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self
    where
        S: Source,
        A: Availability,
    {
        Self {
            settings,
            source: Arc::new(move || Box::new(source())),
            availability: Arc::new(move || Box::new(availability())),
            receivers: Vec::new(),
        }
    }

    /// Adds a receiver.
    #[must_use]
    pub fn receiver<R: Receiver>(mut self, receiver: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.receivers.push(Arc::new(move || Box::new(receiver())));
        self
    }

    pub(crate) fn receiver_ids(&self) -> Vec<ReceiverId> {
        self.receivers.iter().map(|make| make().id().clone()).collect()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A dispatcher that has not been started.
pub struct Dispatcher {
    setup: Setup,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    restarts: RestartPolicy,
}

impl Dispatcher {
    /// A dispatcher with this setup and store, the machine's clock and the default restart policy.
    pub fn new(setup: Setup, store: impl Store) -> Self {
        Self { setup, clock: Arc::new(SystemClock::new()), store: Arc::new(store), restarts: RestartPolicy::default() }
    }

    /// Reads the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Allows restarts by `policy`.
    #[must_use]
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.restarts = policy;
        self
    }

    /// Starts the actors on this thread's arbiter and returns at once.
    ///
    /// # Panics
    /// Outside of a running actix system.
    #[must_use = "the handle is the only way to stop the dispatcher"]
    pub fn start(self) -> Handle {
        let shared = Arc::new(Shared {
            clock: self.clock,
            store: self.store,
            events: EventBus::new(),
            board: Board::default(),
            restarts: self.restarts,
            setup: RwLock::new(Arc::new(self.setup)),
            revision: AtomicU64::new(0),
            store_trouble: Mutex::new(None),
        });
        let (ended, watch_end) = watch::channel(None);
        let supervisor = SupervisorActor::launch(Arc::clone(&shared), ended);
        Handle { shared, supervisor, ended: watch_end }
    }
}

/// How a dispatcher ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was shut down.
    Stopped,
    /// An actor panicked more often than the restart policy allows. What is left of the dispatcher should be shut down,
    /// and the process restarted.
    Escalated {
        /// Which.
        actor: &'static str,
        /// Its last panic.
        panic: Panic,
    },
}

/// Talks to a running dispatcher. Cheap to clone, and usable from any thread.
///
/// Dropping the handles does not stop the dispatcher: call [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    supervisor: Addr<SupervisorActor>,
    ended: watch::Receiver<Option<Ended>>,
}

impl Handle {
    /// Polls once, then pushes now, whatever availability and cooldown say.
    ///
    /// # Errors
    /// If an actor did not answer, or the dispatcher has ended. Dropping the future does not undo the flush.
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
    /// If an actor did not answer, or the dispatcher has ended.
    pub async fn poll(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(PollNow).await)
    }

    /// Stops pushing; watching goes on. Survives a restart.
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
    /// # Errors
    /// If the dispatcher has ended.
    pub async fn reload(&self, setup: Setup) -> Result<(), ControlError> {
        flat(self.supervisor.send(Reload(setup)).await)
    }

    /// Returns when every actor has answered.
    ///
    /// # Errors
    /// If one did not.
    pub async fn ping(&self) -> Result<(), ControlError> {
        flat(self.supervisor.send(Ping).await)
    }

    /// The state of everything, from published snapshots: costs the actors nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.board.status()
    }

    /// The last `limit` deliveries, newest first. Blocks for as long as reading from the store takes.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.shared.store.deliveries(limit)
    }

    /// Everything that happens from now on. A listener that lags far behind loses the oldest events.
    pub fn subscribe(&self) -> impl Stream<Item = Arc<EventRecord>> + Send + Unpin + use<> {
        self.shared.events.stream()
    }

    /// The supervisor, for those who prefer to send messages.
    #[must_use]
    pub fn supervisor(&self) -> Addr<SupervisorActor> {
        self.supervisor.clone()
    }

    /// Waits until the dispatcher ends.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ended::Stopped),
            // Every actor is gone.
            Err(_) => Ended::Stopped,
        }
    }

    /// Ends the dispatcher. Deliveries under way may take up to `grace`; what is left then is dropped and repeated after
    /// the next start.
    pub async fn shutdown(&self, grace: Duration) {
        // An error says that it has ended already.
        let _ = self.supervisor.send(Shutdown { grace }).await;
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

/// What the actors share. Nothing here is ever locked for longer than a copy takes.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) events: EventBus,
    pub(crate) board: Board,
    pub(crate) restarts: RestartPolicy,
    setup: RwLock<Arc<Setup>>,
    revision: AtomicU64,
    /// Why the store refuses, to report it on the edge.
    store_trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_setup(&self, setup: Setup) {
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
    }

    pub(crate) fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn emit(&self, event: Event) {
        self.events.emit(self.clock.now().wall, event);
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        let message = error.to_string();
        let mut trouble = self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&message) {
            log::error!("the state cannot be stored, nothing new is believed or pushed until it can: {message}");
            self.emit(Event::StoreFailing { message: message.clone() });
            self.board.store_error.set(Some(message.clone()));
            *trouble = Some(message);
        }
    }

    pub(crate) fn store_recovered(&self) {
        let mut trouble = self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.take().is_some() {
            log::info!("the state can be stored again");
            self.emit(Event::StoreRecovered);
            self.board.store_error.set(None);
        }
    }
}
