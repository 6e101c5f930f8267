//! Parts that several examples use: a source that counts, room that never ends, and an inbox.
#![expect(clippy::allow_attributes, reason = "no example uses all of it, and one uses all but nothing")]
#![allow(dead_code)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    availability::{Availability, AvailabilityError},
    model::{availability::Free, document::Document, key::Projection, receiver::ReceiverId},
    receivers::{DeliveryError, Receipt, Receiver},
    source::{Observation, Source, SourceError, Validators},
};

/// Makes sources whose projections have another value at every poll.
pub(crate) fn counter() -> impl Fn() -> Counter + Send + Sync + 'static {
    let polls = Arc::<AtomicU64>::default();
    move || Counter(Arc::clone(&polls))
}

pub(crate) struct Counter(Arc<AtomicU64>);

impl Source for Counter {
    fn observe<'a>(
        &'a self,
        _: &'a Projection,
        _: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        let value = self.0.fetch_add(1, Ordering::Relaxed).into();
        async move { Ok(Observation::Present { value, validators: Validators::default() }) }.boxed_local()
    }
}

/// Makes an availability that always has room.
pub(crate) fn always_free() -> AlwaysFree {
    AlwaysFree
}

pub(crate) struct AlwaysFree;

impl Availability for AlwaysFree {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        async { Ok(Free::Slots(8)) }.boxed_local()
    }
}

/// Keeps what was delivered.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Vec<Document>>>);

impl Inbox {
    pub(crate) fn receiver(&self, id: &str) -> impl Fn() -> InboxReceiver + Send + Sync + 'static + use<> {
        let (inbox, id) = (self.clone(), ReceiverId::new(id));
        move || InboxReceiver { inbox: inbox.clone(), id: id.clone() }
    }

    pub(crate) fn documents(&self) -> usize {
        self.0.lock().expect("nobody panics while writing a letter").len()
    }
}

pub(crate) struct InboxReceiver {
    inbox: Inbox,
    id: ReceiverId,
}

impl Receiver for InboxReceiver {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        for change in &document.changes {
            println!("{}: {} is {} now, it was {}", self.id, change.projection, change.new, change.old);
        }
        self.inbox.0.lock().expect("nobody panics while writing a letter").push(document.clone());
        async { Ok(Receipt { detail: "in the inbox".to_owned() }) }.boxed_local()
    }
}
