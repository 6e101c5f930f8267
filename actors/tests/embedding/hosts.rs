//! Hosts: who starts the dispatcher, on which thread, and what else that thread has to do.

use std::{thread, time::Duration};

use actix_rt::{Arbiter, System};
use actix_web::{App, HttpResponse, test as web_test, web};
use futures_util::future::join_all;
use ograph_dispatcher_actors::{
    Dispatcher, Handle, SetupError, StartError, messages::ControlError, model::receiver::ReceiverId,
    receivers::Command, store::MemoryStore,
};
use serde_json::{Value, json};

use crate::{
    support::{Disk, World, seconds},
    without_a_runtime::block_on,
};

/// A world with one projection.
fn world() -> World {
    let world = World::new();
    world.set("tasks", json!(1));
    world
}

/// Starts a dispatcher on a thread of its own.
fn start_apart(world: &World, receivers: &[&str]) -> Handle {
    let setup = world.setup(&["tasks"], receivers);
    world.dispatcher(setup, MemoryStore::default()).start_on_own_arbiter().expect("started")
}

/// A change is seen and told, when `handle` is used by this executor.
async fn a_change_arrives(world: &World, handle: &Handle, value: i32) {
    handle.poll().await.expect("polled");
    world.set("tasks", json!(value));
    handle.flush().await.expect("flushed");
    let told = world.told("a");
    assert_eq!(*told.last().expect("told").1.changes[0].new, json!(value));
}

#[actix::test]
async fn two_dispatchers_in_one_system_do_not_know_of_each_other() {
    tokio::time::pause();
    let (one, other) = (world(), world());
    let first = one.start(one.setup(&["tasks"], &["a"]), MemoryStore::default());
    let second = other.start(other.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(1.0).await;
    second.pause().await.expect("paused");
    one.set("tasks", json!(2));
    other.set("tasks", json!(20));
    seconds(120.0).await;
    assert_eq!((one.told("a").len(), other.told("a").len()), (1, 0));
    first.shutdown(Duration::from_secs(1)).await;
    second.resume().await.expect("resumed");
    seconds(120.0).await;
    assert_eq!(*other.told("a")[0].1.changes[0].new, json!(20));
    assert_eq!(first.flush().await, Err(ControlError::Ended));
    assert_eq!(second.ping().await, Ok(()));
}

#[test]
fn a_thread_without_any_runtime_talks_to_a_dispatcher_on_its_own_arbiter() {
    let world = world();
    let handle = start_apart(&world, &["a"]);
    block_on(a_change_arrives(&world, &handle, 2));
    let (other, again) = (handle.clone(), world.clone());
    thread::spawn(move || block_on(a_change_arrives(&again, &other, 3))).join().expect("no panic");
    assert_eq!(handle.status().watcher.projections, 1);
    block_on(handle.shutdown(Duration::from_secs(5)));
    assert_eq!(block_on(handle.flush()), Err(ControlError::Ended));
}

#[test]
fn a_plain_tokio_runtime_talks_to_a_dispatcher_on_its_own_arbiter() {
    let world = world();
    // Not even a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let handle = start_apart(&world, &["a"]);
        let task = tokio::spawn({
            let (world, handle) = (world.clone(), handle.clone());
            async move { a_change_arrives(&world, &handle, 2).await }
        });
        task.await.expect("no panic");
        handle.shutdown(Duration::from_secs(5)).await;
    });
}

#[actix::test]
async fn an_arbiter_of_the_host_carries_a_dispatcher_too() {
    let world = world();
    let arbiter = Arbiter::new();
    let dispatcher = world.dispatcher(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    let (tell, told) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || drop(tell.send(dispatcher.start())));
    let handle = told.await.expect("an answer").expect("started");
    a_change_arrives(&world, &handle, 2).await;
    handle.shutdown(Duration::from_secs(5)).await;
    arbiter.stop();
    actix_rt::task::spawn_blocking(|| arbiter.join()).await.expect("no panic").expect("joined");
}

#[test]
fn a_host_of_one_thread_is_enough() {
    let world = world();
    let here = thread::current().id();
    let (source, other) = (world.clone(), world.clone());
    System::new().block_on(async {
        let handle = Dispatcher::builder()
            .watch("tasks".parse().expect("a projection"))
            .source(move || {
                assert_eq!(thread::current().id(), here);
                source.clone()
            })
            .availability(move || {
                assert_eq!(thread::current().id(), here);
                other.clone()
            })
            .receiver(world.receiver("a"))
            .start()
            .expect("started");
        a_change_arrives(&world, &handle, 2).await;
        handle.shutdown(Duration::from_secs(5)).await;
    });
}

#[test]
fn without_a_system_there_is_an_error_and_no_panic() {
    let world = world();
    let dispatcher = world.dispatcher(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    let error = dispatcher.start().expect_err("no arbiter");
    assert!(matches!(error, StartError::NoArbiter), "{error}");
}

#[actix::test]
async fn a_setup_that_makes_no_sense_is_refused_wherever_it_is_started() {
    let world = world();
    let same = SetupError::SameReceiver(ReceiverId::new("a"));
    let setup = || world.setup(&["tasks"], &["a", "b", "a"]);
    let error = world.dispatcher(setup(), MemoryStore::default()).start().expect_err("refused");
    assert_eq!(error.to_string(), same.to_string());
    let error = world.dispatcher(setup(), MemoryStore::default()).start_on_own_arbiter().expect_err("refused");
    assert_eq!(error.to_string(), same.to_string());

    let mut zero = world.setup(&["tasks"], &[]);
    zero.settings.watch.idle = Duration::ZERO;
    let error = world.dispatcher(zero, MemoryStore::default()).start().expect_err("refused");
    assert_eq!(error.to_string(), "settings.watch.idle must be above zero");
    let error = Dispatcher::builder().availability({
        let world = world.clone();
        move || world.clone()
    });
    assert_eq!(error.build().expect_err("refused"), SetupError::NoSource);

    let panicking = world.setup(&["tasks"], &[]).receiver(|| -> Command { panic!("cannot be made") });
    let error = world.dispatcher(panicking, MemoryStore::default()).start_on_own_arbiter().expect_err("refused");
    assert!(matches!(error, StartError::Thread(_)), "{error}");
}

#[actix::test]
async fn a_reload_that_makes_no_sense_leaves_the_old_setup_in_force() {
    tokio::time::pause();
    let world = world();
    let handle = world.start(world.setup(&["tasks"], &["a"]), MemoryStore::default());
    seconds(1.0).await;
    let error = handle.reload(world.setup(&["tasks", "notes", "tasks"], &["b"])).await.expect_err("refused");
    assert_eq!(error.to_string(), "the projection tasks is given twice");
    world.set("tasks", json!(2));
    seconds(120.0).await;
    assert_eq!((world.told("a").len(), world.told("b").len()), (1, 0));
}

#[actix::test]
async fn a_host_under_load_and_its_dispatcher_leave_each_other_room() {
    let world = world();
    let handle = world.start(world.setup(&["tasks"], &["a"]), Disk::default());
    handle.poll().await.expect("polled");
    async fn flush(handle: web::Data<Handle>) -> HttpResponse {
        match handle.flush().await {
            Ok(report) => HttpResponse::Ok().json(report),
            Err(error) => HttpResponse::ServiceUnavailable().body(error.to_string()),
        }
    }
    let app = App::new()
        .app_data(web::Data::new(handle.clone()))
        .route("/flush", web::post().to(flush))
        .route("/work", web::get().to(|| async { HttpResponse::Ok().body("x".repeat(10_000)) }));
    let app = web_test::init_service(app).await;
    for round in 2..6 {
        world.set("tasks", json!(round));
        let work = join_all(
            (0..500).map(|_| web_test::call_service(&app, web_test::TestRequest::get().uri("/work").to_request())),
        );
        let flushes = join_all((0..50).map(|_| {
            web_test::call_and_read_body_json::<_, _, Value>(
                &app,
                web_test::TestRequest::post().uri("/flush").to_request(),
            )
        }));
        let (work, flushes) = futures_util::join!(work, flushes);
        assert!(work.iter().all(|answer| answer.status().is_success()));
        assert!(flushes.iter().all(|report| report["batches"].is_array()));
        assert_eq!(
            world.told("a").len(),
            usize::try_from(round).expect("small") - 1,
            "once, however often it was asked for"
        );
    }
    handle.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn many_threads_at_once_are_all_answered() {
    let world = world();
    let handle = start_apart(&world, &["a"]);
    block_on(handle.poll()).expect("polled");
    world.set("tasks", json!(2));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    block_on(handle.flush()).expect("flushed");
                    block_on(handle.ping()).expect("alive");
                }
            });
        }
    });
    assert_eq!(world.told("a").len(), 1);
    block_on(handle.shutdown(Duration::from_secs(5)));
}
