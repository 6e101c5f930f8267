//! What happens between a decision and the moment in which it takes effect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use ograph_dispatcher_actors::{
    Setup,
    availability::{Availability, AvailabilityError},
    model::{availability::Free, key::ProjectionKey},
    store::{Delivery as Logged, Observed, Saved, Store, StoreError, Write},
};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Delivery, Disk, World, seconds};

/// A disk that may take its time over what was observed.
#[derive(Clone, Default)]
struct SlowDisk {
    disk: Disk,
    slow: Arc<AtomicBool>,
    /// It has begun to.
    busy: Arc<Notify>,
}

impl Store for SlowDisk {
    fn load(&self) -> Result<Saved, StoreError> {
        self.disk.load()
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError> {
        self.disk.observed(keys)
    }

    #[expect(clippy::disallowed_methods, reason = "a disk that blocks the thread it is asked on")]
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let observed = writes.iter().any(|write| matches!(write, Write::Observed(..)));
        if observed && self.slow.swap(false, Ordering::Relaxed) {
            self.busy.notify_one();
            std::thread::sleep(Duration::from_millis(50));
        }
        self.disk.commit(writes)
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Logged>, StoreError> {
        self.disk.deliveries(limit)
    }
}

/// An availability that answers, if the disk is going to be slow, as soon as it is.
struct JustThen(SlowDisk);

impl Availability for JustThen {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        Box::pin(async {
            if self.0.slow.load(Ordering::Relaxed) {
                self.0.busy.notified().await;
            }
            Ok(Free::Slots(9))
        })
    }
}

#[actix::test]
async fn what_comes_in_while_a_repeat_is_leased_during_cooldown_waits_for_the_end_of_the_cooldown() {
    tokio::time::pause();
    let world = World::new();
    let disk = SlowDisk::default();
    world.set("tasks", json!(1));
    let setup = || {
        let disk = disk.clone();
        let availability = Arc::new(move || -> Box<dyn Availability> { Box::new(JustThen(disk.clone())) });
        Setup { availability, ..world.setup(&["tasks"], &["a"]) }
    };
    let handle = world.start(setup(), disk.clone());
    seconds(10.0).await;
    world.set("tasks", json!(2));
    // Cut off by the end of the dispatcher: a repeat of the same batch need not cool down…
    world.will("a", [Delivery::Slow(Duration::from_secs(1_000))]);
    seconds(35.0).await;
    assert_eq!(world.attempts("a").len(), 1);
    handle.shutdown(Duration::ZERO).await;
    // …but other content must, also if it is stored just between the decision to repeat and the lease.
    world.set("tasks", json!(3));
    disk.slow.store(true, Ordering::Relaxed);
    let _handle = world.start(setup(), disk.clone());
    seconds(200.0).await;
    let attempts = world.attempts("a");
    for pair in attempts.windows(2) {
        let same = pair[0].document.envelope.batch_id == pair[1].document.envelope.batch_id;
        let apart = pair[1].at - pair[0].at;
        assert!(same || apart >= 60.0, "told other content after {apart} s");
    }
    assert_eq!(attempts[attempts.len() - 1].document.changes[0].new.to_string(), "3");
}
