//! What a host sees and hears: pending changes, projections, events, and answers to plain messages.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler, ResponseFuture};
use futures_util::StreamExt as _;
use ograph_dispatcher_actors::{
    Handle,
    events::Event,
    messages::{EventMessage, Flush, GetPending, GetStatus, Subscribe},
    model::document::ChangeKind,
    source::{SourceError, SourceErrorKind},
    store::MemoryStore,
};
use serde_json::json;

use crate::support::{Answer, World, seconds};

fn assert_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

#[actix::test]
async fn pending_changes_are_shown_as_they_would_be_told() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks?agent=7", json!({"open": 1}));
    world.slots(0);
    let handle = world.start(world.setup(&["tasks?agent=7"], &["a", "b"]), MemoryStore::default());
    assert_shareable(&handle);
    seconds(1.0).await;
    assert!(handle.pending().iter().all(|receiver| receiver.changes.is_empty()));
    for open in [2, 3] {
        world.set("tasks?agent=7", json!({"open": open}));
        seconds(60.0).await;
    }
    let pending = handle.pending();
    assert_eq!(pending.iter().map(|receiver| receiver.receiver.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let change = &pending[0].changes[0];
    assert_eq!((change.name.as_str(), change.params["agent"].as_str()), ("tasks", "7"));
    assert_eq!((change.kind, change.merged), (ChangeKind::Changed, 2));
    assert_eq!((&*change.old, &*change.new), (&json!({"open": 1}), &json!({"open": 3})));
    assert!(change.first_changed_at < change.last_changed_at);
    let answer = handle.supervisor().send(GetPending).await.expect("answered");
    assert_eq!(answer, pending);

    handle.flush().await.expect("flushed");
    assert_eq!(world.told("a")[0].1.changes[0], *change);
    assert!(handle.pending().iter().all(|receiver| receiver.changes.is_empty()));
}

#[actix::test]
async fn projections_are_listed_with_their_age_and_their_trouble() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.answer("broken", Answer::Error(SourceError::new(SourceErrorKind::Server, "on fire")));
    let handle = world.start(world.setup(&["tasks", "broken", "none"], &[]), MemoryStore::default());
    assert_eq!(handle.projections().expect("read")[0].since, None);
    seconds(10.0).await;
    world.set("tasks", json!(2));
    seconds(60.0).await;
    let projections = handle.projections().expect("read");
    let [tasks, broken, none] = &projections[..] else { panic!("{projections:?}") };
    assert!(tasks.present && tasks.failing.is_none());
    assert_eq!(tasks.since.expect("seen").as_millis() / 1000, 30, "since it has this value");
    assert_eq!(broken.failing.as_ref().expect("fails").message, "on fire");
    assert_eq!((none.present, none.since, &none.failing), (false, None, &None));
}

/// A listener of the host, with a small mailbox and slow.
struct Listener {
    seen: Arc<Mutex<Vec<u64>>>,
    busy: Duration,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<EventMessage> for Listener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, EventMessage(event): EventMessage, _: &mut Self::Context) -> Self::Result {
        let (seen, busy) = (Arc::clone(&self.seen), self.busy);
        Box::pin(async move {
            actix_rt::time::sleep(busy).await;
            seen.lock().expect("no panic").push(event.id);
        })
    }
}

fn many(world: &World) -> (Handle, Vec<String>) {
    let names: Vec<_> = (0..100).map(|n| format!("p{n}")).collect();
    for name in &names {
        world.set(name, json!(1));
    }
    let keys: Vec<_> = names.iter().map(String::as_str).collect();
    (world.start(world.setup(&keys, &["a"]), MemoryStore::default()), names)
}

#[actix::test]
async fn an_actor_hears_everything_in_order_however_small_its_mailbox() {
    tokio::time::pause();
    let world = World::new();
    let (handle, names) = many(&world);
    let seen = Arc::<Mutex<Vec<u64>>>::default();
    let slow = Listener { seen: Arc::clone(&seen), busy: Duration::from_millis(10) }.start();
    handle.subscribe_actor(slow.clone().recipient()).await.expect("subscribed");
    let stream = handle.subscribe();
    seconds(1.0).await;
    for name in &names {
        world.set(name, json!(2));
    }
    seconds(120.0).await;
    handle.shutdown(Duration::from_secs(5)).await;
    let heard: Vec<_> = stream.map(|event| event.id).collect().await;
    seconds(1.0).await;
    let seen = seen.lock().expect("no panic").clone();
    assert!(seen.len() > 200, "{}", seen.len());
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(seen.ends_with(&heard), "the same as the stream");
}

#[actix::test]
async fn a_listener_that_is_gone_or_hangs_holds_nobody() {
    tokio::time::pause();
    let world = World::new();
    let (handle, names) = many(&world);
    let hanging = Listener { seen: Arc::default(), busy: Duration::from_secs(3600) }.start();
    handle.supervisor().send(Subscribe(hanging.clone().recipient())).await.expect("answered").expect("subscribed");
    let gone = Listener { seen: Arc::default(), busy: Duration::ZERO }.start();
    handle.subscribe_actor(gone.clone().recipient()).await.expect("subscribed");
    drop(gone);
    seconds(1.0).await;
    for name in &names {
        world.set(name, json!(2));
    }
    seconds(120.0).await;
    assert_eq!(world.told("a").len(), 1);
    handle.shutdown(Duration::from_secs(5)).await;
    drop(hanging);
}

#[actix::test]
async fn plain_messages_do_what_the_handle_does() {
    tokio::time::pause();
    let world = World::new();
    world.set("tasks", json!(1));
    world.slots(0);
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(1.0).await;
    let mut events = handle.subscribe();
    world.set("tasks", json!(2));
    let supervisor = handle.supervisor();
    let busy = supervisor.send(Flush { when_available: true }).await.expect("answered");
    assert!(busy.expect_err("no room").to_string().contains('0'));
    let report = supervisor.send(Flush::default()).await.expect("answered").expect("flushed");
    assert_eq!(report.delivered, 1);
    let status = supervisor.send(GetStatus).await.expect("answered");
    assert_eq!(status.receivers[0].pending, 0);
    loop {
        let event = events.next().await.expect("not ended");
        if matches!(event.event, Event::Pushed { .. }) {
            break;
        }
    }
}
