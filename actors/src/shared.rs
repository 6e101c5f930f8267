//! What the actors of one dispatcher share, and how long they live.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::{
    clock::Clock,
    events::{Event, EventBus},
    handle::Ended,
    setup::Setup,
    status::Board,
    store::{Store, StoreError},
    supervision::RestartPolicy,
    totals::{Counters, TimedStore},
};

/// What the actors share. Nothing here is ever locked for longer than a copy takes.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) events: EventBus,
    pub(crate) counters: Arc<Counters>,
    pub(crate) board: Board,
    pub(crate) restarts: RestartPolicy,
    setup: RwLock<Arc<Setup>>,
    revision: AtomicU64,
    /// Becomes true when every actor shall end at once.
    halt: watch::Sender<bool>,
    /// Why the store refuses, to report it on the edge.
    store_trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(setup: Setup, store: Arc<dyn Store>, clock: Arc<dyn Clock>, restarts: RestartPolicy) -> Self {
        let counters = Arc::<Counters>::default();
        Self {
            store: Arc::new(TimedStore { store, clock: Arc::clone(&clock), counters: Arc::clone(&counters) }),
            clock,
            events: EventBus::new(Arc::clone(&counters)),
            counters,
            board: Board::default(),
            restarts,
            setup: RwLock::new(Arc::new(setup)),
            revision: AtomicU64::new(0),
            halt: watch::Sender::new(false),
            store_trouble: Mutex::new(None),
        }
    }

    /// Ends every actor at once, wherever it is.
    pub(crate) fn halt(&self) {
        self.halt.send_replace(true);
    }

    /// Resolves when the actors shall end.
    pub(crate) fn halted(&self) -> impl Future<Output = ()> + use<> {
        let mut halt = self.halt.subscribe();
        async move {
            // An error says that nobody is left who could halt, or talk to, the actors.
            let _ = halt.wait_for(|halt| *halt).await;
        }
    }

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

/// What everything alive in a dispatcher holds: when the last one lets go, the dispatcher has ended.
///
/// That may be after a shutdown, or because the arbiter under the actors was stopped.
pub(crate) struct Life {
    shared: Arc<Shared>,
    ended: watch::Sender<Option<Ended>>,
}

impl Life {
    /// A life, and the end of it to wait for: first a word on how it ended; closed when all is still.
    pub(crate) fn new(shared: Arc<Shared>) -> (Arc<Self>, watch::Receiver<Option<Ended>>) {
        let (ended, end) = watch::channel(None);
        (Arc::new(Self { shared, ended }), end)
    }

    /// Tells the host that the dispatcher does not go on. The first word counts.
    pub(crate) fn end(&self, how: Ended) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(how);
            first
        });
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end(Ended::Stopped);
        self.shared.events.close();
    }
}
