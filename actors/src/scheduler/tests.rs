//! What reaches the scheduler while it does not know yet what is pending.

use actix::{Message, MessageResult};
use futures_util::future::LocalBoxFuture;

use super::*;
use crate::{
    Dispatcher, Settings, Setup,
    availability::Availability,
    model::{document::Document, key::Projection, schedule::Demand},
    receivers::Receipt,
    source::{Observation, Source, SourceError, Validators},
    store::MemoryStore,
};

/// Nothing to watch, no room, and a receiver that nothing is ever delivered to.
struct Nobody(ReceiverId);

impl Source for Nobody {
    fn observe<'a>(
        &'a self,
        _: &'a Projection,
        _: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        Box::pin(async { Ok(Observation::Absent) })
    }
}

impl Availability for Nobody {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        Box::pin(async { Ok(Free::Room(false)) })
    }
}

impl Receiver for Nobody {
    fn id(&self) -> &ReceiverId {
        &self.0
    }

    fn deliver<'a>(&'a self, _: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        Box::pin(std::future::pending())
    }
}

fn nobody() -> Nobody {
    Nobody(ReceiverId::new("a"))
}

/// Lets the scheduler begin with an answer that was overtaken by a change and by a pause.
#[derive(Message)]
#[rtype(result = "(Phase, Phase)")]
struct Overtake;

impl Handler<Overtake> for SchedulerActor {
    type Result = MessageResult<Overtake>;

    fn handle(&mut self, _: Overtake, context: &mut Context<Self>) -> Self::Result {
        let waiting = Demand { waiting: 1, generation: 1, repeats: false };
        let demands = |revision, demand| Demands { revision, by_receiver: [(ReceiverId::new("a"), demand)].into() };
        let old = || Reopened { demands: demands(1_000, Demand::default()), cooldowns: BTreeMap::new(), paused: false };
        self.desk = None;
        self.handle(DemandChanged(demands(1_001, waiting)), context);
        self.begin(old(), context);
        let changed = self.phase();
        self.desk = None;
        drop(self.handle(SetPaused(true), context));
        self.begin(old(), context);
        MessageResult((changed, self.phase()))
    }
}

impl SchedulerActor {
    fn phase(&self) -> Phase {
        self.desk.as_ref().expect("it has begun").schedule.standing(self.now()).phase
    }
}

#[actix::test]
async fn what_is_said_before_it_begins_is_not_forgotten() {
    tokio::time::pause();
    let setup = Setup::new(Settings::watching(Vec::new()), nobody, nobody).receiver(nobody);
    let handle = Dispatcher::new(setup, MemoryStore::default()).start().expect("a running system");
    let scheduler = SchedulerActor::new(Arc::clone(&handle.shared), handle.supervisor()).start();
    let (changed, paused) = scheduler.send(Overtake).await.expect("it lives");
    assert_eq!(changed, Phase::Waiting, "the change is pending");
    assert_eq!(paused, Phase::Paused);
    handle.shutdown(Duration::ZERO).await;
}
