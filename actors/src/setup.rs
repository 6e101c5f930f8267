//! What a dispatcher watches, whom it asks and whom it tells: the [`Setup`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{
    availability::Availability,
    model::{
        key::{Projection, ProjectionKey},
        receiver::ReceiverId,
    },
    receivers::Receiver,
    settings::Settings,
    source::Source,
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

    /// The ids of the receivers. Makes the receivers, so only on the arbiter's thread.
    pub(crate) fn receiver_ids(&self) -> Vec<ReceiverId> {
        self.receivers.iter().map(|make| make().id().clone()).collect()
    }

    /// The name and the parameters of a projection, also of one that is no longer watched.
    pub(crate) fn describe(&self, key: &ProjectionKey) -> (String, BTreeMap<String, String>) {
        let watched = self.settings.projections.iter().find(|projection| projection.key == *key);
        match watched.cloned().or_else(|| key.as_str().parse::<Projection>().ok()) {
            Some(projection) => (projection.name, projection.params),
            None => (key.to_string(), BTreeMap::new()),
        }
    }

    /// Refuses what no actor could work with. Makes the receivers, so only on the arbiter's thread.
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        let Settings { projections, watch, schedule } = &self.settings;
        let mut keys = BTreeSet::new();
        if let Some(twice) = projections.iter().find(|projection| !keys.insert(&projection.key)) {
            return Err(SetupError::SameProjection(twice.key.clone()));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.receiver_ids().into_iter().find(|id| !ids.insert(id.clone())) {
            return Err(SetupError::SameReceiver(twice));
        }
        let zero = [
            ("watch.idle", watch.idle.is_zero()),
            ("watch.active", watch.active.is_zero()),
            ("watch.concurrency", watch.concurrency == 0),
            ("schedule.idle", schedule.idle.is_zero()),
            ("schedule.active", schedule.active.is_zero()),
        ];
        zero.into_iter().find(|(_, zero)| *zero).map_or(Ok(()), |(name, _)| Err(SetupError::Zero(name)))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a setup cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Nothing to watch with.
    #[error("the dispatcher has no source; give one with `source`")]
    NoSource,
    /// Nobody to ask whether there is room.
    #[error("the dispatcher has no availability; give one with `availability`")]
    NoAvailability,
    /// Two projections with one key.
    #[error("the projection {0} is given twice")]
    SameProjection(ProjectionKey),
    /// Two receivers with one id: what each was told would be stored in one place.
    #[error("two receivers have the id {0}; give each its own")]
    SameReceiver(ReceiverId),
    /// A setting that must be above zero.
    #[error("settings.{0} must be above zero")]
    Zero(&'static str),
}
