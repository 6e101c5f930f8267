//! Endings: a shutdown, a lost handle, an escalation, and hosts that end first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use actix_rt::{Arbiter, System};
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    Dispatcher, Ended, Handle,
    messages::{ControlError, Shutdown},
    model::key::Projection,
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
    status::ActorState,
    store::MemoryStore,
};
use serde_json::json;

use crate::{
    support::{Answer, Delivery, Disk, World, seconds},
    without_a_runtime::block_on,
};

const HOUR: Duration = Duration::from_secs(3600);

fn world() -> World {
    let world = World::new();
    world.set("tasks", json!(1));
    world
}

async fn started(world: &World) -> Handle {
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(1.0).await;
    handle
}

/// How many seconds of virtual time something takes.
async fn takes(world: &World, future: impl Future) -> f64 {
    let start = world.state().seconds();
    future.await;
    world.state().seconds() - start
}

#[actix::test]
async fn an_idle_dispatcher_is_shut_down_at_once() {
    tokio::time::pause();
    let world = world();
    let handle = started(&world).await;
    assert!(takes(&world, handle.shutdown(HOUR)).await < 0.1);
    assert_eq!(handle.ended().await, Ended::Stopped);
    let polls = world.polls_of("tasks").len();
    seconds(600.0).await;
    assert_eq!(world.polls_of("tasks").len(), polls);
}

#[actix::test]
async fn a_hanging_receiver_holds_the_shutdown_no_longer_than_its_grace() {
    tokio::time::pause();
    let world = world();
    let disk = Disk::default();
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(1.0).await;
    world.will("a", [Delivery::Slow(HOUR)]);
    world.set("tasks", json!(2));
    seconds(60.0).await;
    assert!(handle.status().receivers[0].in_flight);
    let took = takes(&world, handle.shutdown(Duration::from_secs(5))).await;
    assert!((4.9..5.1).contains(&took), "{took}");
    // What was dropped is repeated, as the same batch.
    let first = world.attempts("a")[0].document.clone();
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(120.0).await;
    assert_eq!(world.told("a").last().expect("told").1, first);
    handle.shutdown(HOUR).await;
}

#[actix::test]
async fn a_delivery_that_ends_within_the_grace_is_waited_for() {
    tokio::time::pause();
    let world = world();
    let disk = Disk::default();
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk.clone());
    seconds(1.0).await;
    world.will("a", [Delivery::Slow(Duration::from_secs(40))]);
    world.set("tasks", json!(2));
    seconds(60.0).await;
    assert!(takes(&world, handle.shutdown(HOUR)).await < 40.0);
    let handle = world.start(world.setup(&["tasks"], &["a"]), disk);
    seconds(120.0).await;
    assert_eq!(world.attempts("a").len(), 1);
    assert_eq!(handle.deliveries(10).expect("read").len(), 1);
}

#[actix::test]
async fn a_hanging_source_does_not_hold_the_shutdown_and_is_dropped() {
    tokio::time::pause();
    let world = world();
    let handle = started(&world).await;
    world.answer("tasks", Answer::SlowError(HOUR, SourceError::new(SourceErrorKind::Timeout, "too late")));
    seconds(60.0).await;
    assert_eq!(world.polling(), 1);
    let (flush, took) = futures_util::join!(handle.flush(), async {
        seconds(1.0).await;
        takes(&world, handle.shutdown(Duration::from_secs(5))).await
    });
    assert!(flush.is_err(), "{flush:?}");
    assert!(took < 5.1, "{took}");
    assert_eq!(world.polling(), 0);
}

/// A source that blocks its thread, which no source should.
struct Blocking(Arc<AtomicBool>, mpsc::SyncSender<()>);

impl Source for Blocking {
    fn observe<'a>(
        &'a self,
        _: &'a Projection,
        _: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        async {
            let _ = self.1.try_send(());
            while !self.0.load(Ordering::SeqCst) {
                thread::park_timeout(Duration::from_millis(10));
            }
            Ok(Observation::Absent)
        }
        .boxed_local()
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this thread has no other clock")]
fn a_source_that_blocks_its_thread_does_not_hold_the_shutdown() {
    let world = world();
    let release = Arc::new(AtomicBool::new(false));
    let (blocked, is_blocked) = mpsc::sync_channel(1);
    let (source, room) = (Arc::clone(&release), world.clone());
    let handle = Dispatcher::builder()
        .watch("tasks".parse().expect("a projection"))
        .source(move || Blocking(Arc::clone(&source), blocked.clone()))
        .availability(move || room.clone())
        .start_on_own_arbiter()
        .expect("started");
    is_blocked.recv().expect("polled");
    let start = std::time::Instant::now();
    block_on(handle.shutdown(Duration::from_millis(100)));
    let took = start.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
    // Once it wakes up, it ends.
    release.store(true, Ordering::SeqCst);
    assert_eq!(block_on(handle.ended()), Ended::Stopped);
}

#[actix::test]
async fn shutting_down_twice_or_not_to_the_end_does_no_harm() {
    tokio::time::pause();
    let world = world();
    let handle = started(&world).await;
    world.will("a", [Delivery::Slow(HOUR)]);
    world.set("tasks", json!(2));
    seconds(60.0).await;
    // Asked for, and not waited for.
    drop(tokio::time::timeout(Duration::from_secs(1), handle.shutdown(Duration::from_secs(10))).await);
    assert_eq!(handle.flush().await, Err(ControlError::Ended));
    let both = takes(&world, async {
        futures_util::join!(handle.shutdown(HOUR), handle.shutdown(HOUR));
    });
    assert!(both.await < 10.0, "the first one goes on");
    handle.shutdown(HOUR).await;
}

#[actix::test]
async fn a_shutdown_by_message_is_answered() {
    tokio::time::pause();
    let world = world();
    let handle = started(&world).await;
    let supervisor = handle.supervisor();
    supervisor.send(Shutdown { grace: HOUR }).await.expect("answered");
    assert_eq!(handle.ended().await, Ended::Stopped);
    assert!(supervisor.send(Shutdown { grace: HOUR }).await.is_err());
}

#[actix::test]
async fn the_events_end_with_the_dispatcher() {
    tokio::time::pause();
    let world = world();
    let handle = started(&world).await;
    let events = handle.subscribe();
    world.set("tasks", json!(2));
    seconds(60.0).await;
    handle.shutdown(HOUR).await;
    let seen: Vec<_> = events.collect().await;
    assert!(seen.len() > 3 && seen.windows(2).all(|pair| pair[0].id < pair[1].id), "{seen:?}");
    assert_eq!(handle.subscribe().count().await, 0);
}

#[actix::test]
async fn without_its_last_handle_a_dispatcher_goes_on() {
    tokio::time::pause();
    let world = world();
    drop(started(&world).await);
    world.set("tasks", json!(2));
    seconds(120.0).await;
    assert_eq!(world.told("a").len(), 1);
}

#[test]
fn without_its_last_handle_a_dispatcher_on_its_own_arbiter_goes_on() {
    let world = world();
    let mut setup = world.setup(&["tasks"], &["a"]);
    setup.settings.watch.idle = Duration::from_millis(20);
    setup.settings.schedule.active = Duration::from_millis(20);
    setup.settings.schedule.idle = Duration::from_millis(20);
    let handle = world.dispatcher(setup, MemoryStore::default()).start_on_own_arbiter().expect("started");
    block_on(handle.poll()).expect("polled");
    let mut events = handle.subscribe();
    drop(handle);
    world.set("tasks", json!(2));
    block_on(async { while events.next().await.is_some_and(|_| world.told("a").is_empty()) {} });
    assert_eq!(world.told("a").len(), 1);
}

#[actix::test]
async fn a_dispatcher_beyond_its_intensity_tells_its_host_and_leaves_it_and_others_alone() {
    tokio::time::pause();
    let (sick, healthy) = (world(), world());
    let other = started(&healthy).await;
    let broken = Arc::new(AtomicBool::new(false));
    let setup = {
        let (world, broken) = (sick.clone(), Arc::clone(&broken));
        let mut setup = sick.setup(&["tasks"], &["a"]);
        setup.source = Arc::new(move || {
            assert!(!broken.load(Ordering::SeqCst), "no source any more");
            Box::new(world.clone())
        });
        setup
    };
    let handle = sick.start(setup.clone(), MemoryStore::default());
    seconds(1.0).await;
    broken.store(true, Ordering::SeqCst);
    handle.reload(setup).await.expect("accepted");
    let Ended::Escalated { actor: "watcher", panic } = handle.ended().await else { panic!("{:?}", handle.status()) };
    assert_eq!(panic.message, "no source any more");
    assert_eq!(handle.status().actors["watcher"].state, ActorState::GivenUp);
    assert!(handle.poll().await.is_err());
    handle.shutdown(Duration::from_secs(1)).await;
    assert!(matches!(handle.ended().await, Ended::Escalated { .. }), "how it ended stays known");

    healthy.set("tasks", json!(2));
    seconds(120.0).await;
    assert_eq!(healthy.told("a").len(), 1);
    assert_eq!(other.ping().await, Ok(()));
}

#[test]
fn a_host_that_stops_its_system_ends_the_dispatcher_without_a_panic() {
    let world = world();
    let (tell, told) = mpsc::channel();
    let host = {
        let world = world.clone();
        thread::spawn(move || {
            let system = System::new();
            system.block_on(async {
                world.answer("notes", Answer::SlowError(HOUR, SourceError::new(SourceErrorKind::Timeout, "too late")));
                world.will("a", [Delivery::Slow(HOUR)]);
                let handle = world.start(world.setup(&["tasks", "notes"], &["a"]), MemoryStore::default());
                tell.send(handle).expect("somebody listens");
                System::current().stop();
            });
            system.run().expect("a clean exit");
        })
    };
    let handle = told.recv().expect("started");
    host.join().expect("no panic");
    assert_eq!(block_on(handle.ended()), Ended::Stopped);
    assert_eq!(block_on(handle.flush()), Err(ControlError::Ended));
    assert_eq!(block_on(handle.subscribe().count()), 0);
    block_on(handle.shutdown(HOUR));
    assert_eq!(world.polling(), 0, "what was under way was dropped");
}

#[actix::test]
async fn an_arbiter_that_is_stopped_takes_its_dispatcher_with_it() {
    let world = world();
    let arbiter = Arbiter::new();
    let dispatcher = world.dispatcher(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    let (tell, told) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || drop(tell.send(dispatcher.start())));
    let handle = told.await.expect("an answer").expect("started");
    handle.poll().await.expect("polled");
    arbiter.stop();
    actix_rt::task::spawn_blocking(|| arbiter.join()).await.expect("no panic").expect("joined");
    assert_eq!(handle.ended().await, Ended::Stopped);
}

#[test]
fn a_dispatcher_on_its_own_arbiter_outlives_the_system_of_its_host() {
    let world = world();
    let handle = {
        let system = System::new();
        let handle = system.block_on(async {
            let setup = world.setup(&["tasks"], &["a"]);
            let handle = world.dispatcher(setup, MemoryStore::default()).start_on_own_arbiter().expect("started");
            System::current().stop();
            handle
        });
        system.run().expect("a clean exit");
        handle
    };
    block_on(handle.poll()).expect("polled");
    block_on(handle.shutdown(Duration::from_secs(5)));
}
