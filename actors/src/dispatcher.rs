//! The front door: a [`Dispatcher`] is built and started.

use std::{fmt, io, sync::Arc, thread};

use actix_rt::{Arbiter, System};

use crate::{
    availability::Availability,
    clock::{Clock, SystemClock},
    handle::{Handle, OwnThread},
    model::key::Projection,
    receivers::Receiver,
    settings::Settings,
    setup::{AvailabilityFactory, ReceiverFactory, Setup, SetupError, SourceFactory},
    shared::{Life, Shared},
    source::Source,
    store::{MemoryStore, Store},
    supervision::RestartPolicy,
    supervisor::SupervisorActor,
};

/// A dispatcher that has not been started.
///
/// [`builder`](Self::builder) puts one together part by part; [`new`](Self::new) takes a whole [`Setup`], which is also
/// what a reload takes.
#[must_use = "a dispatcher does nothing until it is started"]
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

    /// Begins a dispatcher that watches nothing, tells nobody and forgets everything at its end.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::watching(Vec::new()),
            source: None,
            availability: None,
            receivers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            store: None,
            restarts: RestartPolicy::default(),
        }
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Allows restarts by `policy`.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.restarts = policy;
        self
    }

    /// Starts the actors on this thread's arbiter and returns at once: nothing has been polled yet.
    ///
    /// The dispatcher lives until it is [shut down](Handle::shutdown) or the arbiter is stopped.
    ///
    /// # Errors
    /// If there is no arbiter on this thread, or the setup makes no sense.
    pub fn start(self) -> Result<Handle, StartError> {
        if Arbiter::try_current().is_none() {
            return Err(StartError::NoArbiter);
        }
        self.setup.check()?;
        let shared = Arc::new(Shared::new(self.setup, self.store, self.clock, self.restarts));
        let (life, ended) = Life::new(Arc::clone(&shared));
        let supervisor = SupervisorActor::launch(Arc::clone(&shared), &life);
        Ok(Handle::new(shared, supervisor, ended))
    }

    /// Starts the actors on a thread and an arbiter of their own; this thread needs neither actix nor tokio.
    ///
    /// Blocks until the thread is up, some milliseconds. The thread ends with the dispatcher, and
    /// [`Handle::shutdown`] joins it. A host that stops its own actix system does not stop the dispatcher.
    ///
    /// # Errors
    /// If the system gives no thread, or the setup makes no sense.
    pub fn start_on_own_arbiter(self) -> Result<Handle, StartError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (exit, exited) = tokio::sync::watch::channel(());
        let main = move || {
            // Dropped last, when the runtime is gone.
            let _exit = exit;
            System::new().block_on(async move {
                match self.start() {
                    Ok(handle) => {
                        let gone = handle.gone();
                        // Whoever started it waits for this word.
                        let _ = tell.send(Ok(handle));
                        gone.await;
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("ograph-dispatcher".to_owned()).spawn(main)?;
        // Nothing is sent only if the thread panicked: the system refused it a runtime, or a receiver could not be made.
        let handle = told.recv().unwrap_or_else(|_| Err(io::Error::other("it panicked while it started").into()))?;
        Ok(handle.on(OwnThread::new(thread, exited)))
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("setup", &self.setup)
            .field("restarts", &self.restarts)
            .finish_non_exhaustive()
    }
}

/// Puts a [`Dispatcher`] together. A source and an availability are needed, the rest has defaults.
///
/// Source, availability and receivers are given as closures that make them: HTTP clients and the like cannot move
/// between threads, and a restarted actor gets a fresh one.
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    settings: Settings,
    source: Option<SourceFactory>,
    availability: Option<AvailabilityFactory>,
    receivers: Vec<ReceiverFactory>,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Store>>,
    restarts: RestartPolicy,
}

impl Builder {
    /// Replaces all settings, the projections to watch among them. Default: [`Settings::watching`] nothing.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Watches one more projection.
    pub fn watch(mut self, projection: Projection) -> Self {
        self.settings.projections.push(projection);
        self
    }

    /// Observes the projections through what `make` makes.
    pub fn source<S: Source>(mut self, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(move || Box::new(make())));
        self
    }

    /// Asks what `make` makes how much room there is.
    pub fn availability<A: Availability>(mut self, make: impl Fn() -> A + Send + Sync + 'static) -> Self {
        self.availability = Some(Arc::new(move || Box::new(make())));
        self
    }

    /// Tells one more receiver; its id is its own.
    pub fn receiver<R: Receiver>(mut self, make: impl Fn() -> R + Send + Sync + 'static) -> Self {
        self.receivers.push(Arc::new(move || Box::new(make())));
        self
    }

    /// Keeps its state in `store`. Default: a [`MemoryStore`], with which the first values after every start are
    /// baselines; [`RedbStore`](crate::store::RedbStore) remembers.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Reads the time from `clock`. Default: the machine's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Allows restarts by `policy`. Default: 5 of each actor in 30 s.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.restarts = policy;
        self
    }

    /// The dispatcher.
    ///
    /// # Errors
    /// If it has no source or no availability.
    pub fn build(self) -> Result<Dispatcher, SetupError> {
        let setup = Setup {
            settings: self.settings,
            source: self.source.ok_or(SetupError::NoSource)?,
            availability: self.availability.ok_or(SetupError::NoAvailability)?,
            receivers: self.receivers,
        };
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::default()));
        Ok(Dispatcher { setup, clock: self.clock, store, restarts: self.restarts })
    }

    /// Builds it and [starts it](Dispatcher::start) on this thread's arbiter.
    ///
    /// # Errors
    /// As for [`build`](Self::build) and [`Dispatcher::start`].
    pub fn start(self) -> Result<Handle, StartError> {
        self.build()?.start()
    }

    /// Builds it and [starts it](Dispatcher::start_on_own_arbiter) on a thread of its own.
    ///
    /// # Errors
    /// As for [`build`](Self::build) and [`Dispatcher::start_on_own_arbiter`].
    pub fn start_on_own_arbiter(self) -> Result<Handle, StartError> {
        self.build()?.start_on_own_arbiter()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("restarts", &self.restarts)
            .finish_non_exhaustive()
    }
}

/// Why a dispatcher was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The setup makes no sense.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// This thread runs no actix system.
    #[error("this thread has no actix arbiter; start inside of a running system, or with `start_on_own_arbiter`")]
    NoArbiter,
    /// There is no thread to run on.
    #[error("the dispatcher's thread could not be started: {0}")]
    Thread(#[from] io::Error),
}
