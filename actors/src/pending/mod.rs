//! The PendingActor owns the merge maps and the store.
//!
//! # Guarantees
//! - It answers only after the commit: what it said is durable.
//! - One message at a time, in order; the disk is waited for off the arbiter's thread.
//! - After a failed commit everything is as it was before.

mod ledger;

pub(crate) use self::ledger::Ledger;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, AtomicResponse, Context, Handler, ResponseActFuture, Supervised,
    WrapFuture as _,
};

use crate::{
    events::Event,
    failpoint::failpoint,
    messages::{
        ControlError, Demands, Lease, Leased, Ping, ProjectionChanged, Recall, Reconfigure, Reopen, Reopened,
        SetPaused, Settle,
    },
    model::key::ProjectionKey,
    shared::Shared,
    store::{ObservedHead, Store, StoreError},
};

/// How long to wait before the store is opened again when it refuses.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct PendingActor {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
}

impl PendingActor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ledger: Arc::default() }
    }

    /// Runs `work` on a copy of the ledger off this thread, and takes the copy over if it succeeded.
    fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store, &mut Ledger) -> Result<T, StoreError> + Send + 'static,
    ) -> ResponseActFuture<Self, Result<T, ControlError>> {
        failpoint!("pending.handler");
        let store = Arc::clone(&self.shared.store);
        let mut ledger = (*self.ledger).clone();
        let done = blocking(move || work(&*store, &mut ledger).map(|value| (value, ledger)));
        Box::pin(done.into_actor(self).map(|result, actor: &mut Self, _| {
            failpoint!("pending.committed");
            match result {
                Ok((value, ledger)) => {
                    actor.ledger = Arc::new(ledger);
                    actor.shared.store_recovered();
                    actor.publish();
                    Ok(value)
                }
                Err(error) => {
                    actor.shared.store_failed(&error);
                    Err(ControlError::Store(error.to_string()))
                }
            }
        }))
    }

    /// What is pending, for the scheduler.
    fn demands(&self) -> Demands {
        Demands { revision: self.shared.next_revision(), by_receiver: self.ledger.demands() }
    }

    fn publish(&self) {
        self.shared.board.ledger.set(Arc::clone(&self.ledger));
    }

    fn open(&self, context: &mut Context<Self>) {
        let shared = Arc::clone(&self.shared);
        let opened = async move {
            loop {
                let (store, setup) = (Arc::clone(&shared.store), shared.setup());
                let ids = setup.receiver_ids();
                match blocking(move || Ledger::open(&*store, &ids, &setup.settings.projections)).await {
                    Ok(ledger) => return ledger,
                    Err(error) => shared.store_failed(&error),
                }
                actix_rt::time::sleep(REOPEN_DELAY).await;
            }
        };
        // Until then the mailbox waits.
        context.wait(opened.into_actor(self).map(|ledger, actor, _| {
            failpoint!("pending.future");
            actor.ledger = Arc::new(ledger);
            actor.shared.store_recovered();
            actor.publish();
        }));
    }
}

/// Runs `work` where it may block. A panic inside goes on here, to be caught by the actor's guard.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match actix_rt::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Actor for PendingActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        failpoint!("pending.started");
        self.open(context);
    }
}

impl Supervised for PendingActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        *self = Self::new(Arc::clone(&self.shared));
    }
}

impl Handler<ProjectionChanged> for PendingActor {
    type Result = AtomicResponse<Self, Result<Demands, ControlError>>;

    fn handle(&mut self, message: ProjectionChanged, _: &mut Self::Context) -> Self::Result {
        let first_seen = self.shared.setup().settings.watch.first_seen;
        let recorded = self.transact(move |store, ledger| ledger.record(store, &message.observations, first_seen));
        AtomicResponse::new(Box::pin(recorded.map(|events, actor, _| {
            events.map(|events| {
                for event in events {
                    actor.shared.emit(event);
                }
                actor.demands()
            })
        })))
    }
}

impl Handler<Recall> for PendingActor {
    type Result = ResponseActFuture<Self, Result<BTreeMap<ProjectionKey, ObservedHead>, ControlError>>;

    fn handle(&mut self, _: Recall, _: &mut Self::Context) -> Self::Result {
        failpoint!("pending.handler");
        let (shared, store) = (Arc::clone(&self.shared), Arc::clone(&self.shared.store));
        let load = async move {
            blocking(move || store.load()).await.map(|saved| saved.observed).map_err(|error| {
                shared.store_failed(&error);
                ControlError::Store(error.to_string())
            })
        };
        Box::pin(load.into_actor(self))
    }
}

impl Handler<Reopen> for PendingActor {
    type Result = AtomicResponse<Self, Result<Reopened, ControlError>>;

    fn handle(&mut self, _: Reopen, _: &mut Self::Context) -> Self::Result {
        let reopened = self.transact(|store, ledger| ledger.reopen(store));
        AtomicResponse::new(Box::pin(reopened.map(|done, actor, _| {
            done.map(|()| Reopened {
                demands: actor.demands(),
                cooldowns: actor.ledger.cooldowns(),
                paused: actor.ledger.paused,
            })
        })))
    }
}

impl Handler<Lease> for PendingActor {
    type Result = AtomicResponse<Self, Result<Leased, ControlError>>;

    fn handle(&mut self, message: Lease, _: &mut Self::Context) -> Self::Result {
        let now = self.shared.clock.now().wall;
        let setup = self.shared.setup();
        let leased = self.transact(move |store, ledger| {
            let Lease { receivers, reason, availability, cooldown } = message;
            ledger.lease(store, &receivers, reason, availability, cooldown, now, &setup)
        });
        AtomicResponse::new(Box::pin(
            leased.map(|documents, actor, _| documents.map(|documents| Leased { documents, demands: actor.demands() })),
        ))
    }
}

impl Handler<Settle> for PendingActor {
    type Result = AtomicResponse<Self, Result<Demands, ControlError>>;

    fn handle(&mut self, message: Settle, _: &mut Self::Context) -> Self::Result {
        let delivery = message.delivery.clone();
        let settled = self.transact(move |store, ledger| ledger.settle(store, &message));
        AtomicResponse::new(Box::pin(settled.map(move |done, actor, _| {
            done.map(|()| {
                actor.shared.emit(Event::Pushed {
                    receiver: delivery.receiver,
                    batch_id: delivery.batch_id,
                    outcome: delivery.outcome,
                    detail: delivery.detail,
                });
                actor.demands()
            })
        })))
    }
}

impl Handler<SetPaused> for PendingActor {
    type Result = AtomicResponse<Self, Result<(), ControlError>>;

    fn handle(&mut self, SetPaused(paused): SetPaused, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(self.transact(move |store, ledger| ledger.pause(store, paused))))
    }
}

impl Handler<Reconfigure> for PendingActor {
    type Result = ();

    /// Opens the ledger anew for the receivers and projections that are configured now.
    fn handle(&mut self, _: Reconfigure, context: &mut Self::Context) {
        self.open(context);
    }
}

impl Handler<Ping> for PendingActor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}
