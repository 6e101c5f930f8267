//! Every message as a real datagram socket receives it.

use std::{
    ffi::OsStr,
    future::{pending, ready},
    os::unix::net::UnixDatagram,
    sync::{Arc, Condvar, Mutex},
};

use futures_util::future::LocalBoxFuture;
use ograph_dispatcher_actors::{
    Dispatcher, Settings, Setup,
    availability::{Availability, AvailabilityError},
    model::{
        availability::Free,
        key::{Projection, ProjectionKey},
    },
    source::{Observation, Source, SourceError, Validators},
    store::{Delivery, MemoryStore, Observed, Saved, Store, StoreError, Write},
};

use tempfile::TempDir;

use super::*;

/// The end of the socket that systemd has.
struct Systemd {
    _folder: TempDir,
    socket: UnixDatagram,
    environment: Environment,
}

impl Systemd {
    fn listen() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let mut systemd = Self { _folder: folder, socket, environment: Environment::default() };
        systemd.set("NOTIFY_SOCKET", path);
        systemd
    }

    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.variables.insert(name.into(), value.as_ref().to_owned());
    }

    fn manager(&self) -> Manager {
        Manager::of(&self.environment)
    }

    /// What was received and not yet looked at.
    fn received(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| {
            self.socket.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned())
        })
        .collect()
    }
}

#[actix_rt::test]
async fn every_step_of_the_life_of_a_service_is_announced() {
    let systemd = Systemd::listen();
    let manager = systemd.manager();
    manager.ready().await;
    manager
        .during_reload(async {
            let begun = systemd.received();
            assert_eq!(begun[0], "READY=1");
            let micros = begun[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&begun[1]);
            let now = monotonic_micros().unwrap();
            let micros: u64 = micros.parse().unwrap();
            assert!(micros <= now && now - micros < 60_000_000, "{micros} is not just before {now}");
        })
        .await;
    manager.stopping().await;
    assert_eq!(systemd.received(), ["READY=1", "STOPPING=1"]);
}

#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn an_abstract_name_is_a_socket_as_well() {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().to_str().unwrap();
    let mut systemd = Systemd::listen();
    systemd.socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    systemd.set("NOTIFY_SOCKET", format!("@{name}"));
    systemd.manager().ready().await;
    assert_eq!(systemd.received(), ["READY=1"]);
}

#[actix_rt::test]
async fn without_a_socket_and_with_a_useless_one_the_daemon_goes_on() {
    for name in [None, Some(""), Some("/nobody/listens/here"), Some("vsock:2:1"), Some("@")] {
        let mut systemd = Systemd::listen();
        systemd.environment.variables.clear();
        if let Some(name) = name {
            systemd.set("NOTIFY_SOCKET", name);
        }
        systemd.manager().ready().await;
        assert_eq!(systemd.received(), [""; 0], "{name:?}");
    }
}

#[actix_rt::test]
async fn nobody_waits_for_a_manager_that_does_not_read() {
    tokio::time::pause();
    let systemd = Systemd::listen();
    let manager = systemd.manager();
    // More than any system queues for a socket.
    for _ in 0..2_000 {
        manager.ready().await;
        if manager.lost.get() {
            return;
        }
    }
    panic!("the socket never filled up");
}

#[actix_rt::test]
async fn a_status_cannot_say_anything_else() {
    let systemd = Systemd::listen();
    let long = "x".repeat(10_000);
    systemd.manager().show(iter(["waiting\nMAINPID=1\r\u{1b}", &long].map(str::to_owned))).await;
    let received = systemd.received();
    assert_eq!(received[0], "STATUS=waiting MAINPID=1  ");
    assert_eq!(received[1].len(), "STATUS=".len() + STATUS);
    assert_eq!(received.len(), 2);
}

#[actix_rt::test]
async fn signs_of_life_come_at_half_of_the_time_allowed() {
    tokio::time::pause();
    let mut systemd = Systemd::listen();
    systemd.set("WATCHDOG_USEC", "60000000");
    systemd.set("WATCHDOG_PID", std::process::id().to_string());
    let manager = systemd.manager();
    let live = manager.live(|| ready(Ok::<_, String>(())));
    // At 0, 30, 60 and 90 s.
    assert!(timeout(Duration::from_secs(100), live).await.is_err());
    assert_eq!(systemd.received(), ["WATCHDOG=1"; 4]);
}

#[actix_rt::test]
async fn a_daemon_in_which_an_actor_hangs_or_fails_gives_no_sign_of_life() {
    tokio::time::pause();
    let mut systemd = Systemd::listen();
    systemd.set("WATCHDOG_USEC", "60000000");
    let manager = systemd.manager();
    let hanging = manager.live(pending::<Result<(), String>>);
    assert!(timeout(Duration::from_secs(600), hanging).await.is_err());
    let failing = manager.live(|| ready(Err("the watcher did not answer")));
    assert!(timeout(Duration::from_secs(600), failing).await.is_err());
    assert_eq!(systemd.received(), [""; 0]);
}

/// A store that answers nothing until it is let go, as a disk that hangs.
struct HangingStore {
    store: MemoryStore,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl HangingStore {
    fn wait(&self) -> &MemoryStore {
        let (open, changed) = &*self.open;
        let open = open.lock().expect("no panic");
        drop(changed.wait_while(open, |open| !*open).expect("no panic"));
        &self.store
    }
}

impl Store for HangingStore {
    fn load(&self) -> Result<Saved, StoreError> {
        self.wait().load()
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError> {
        self.wait().observed(keys)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.wait().commit(writes)
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.wait().deliveries(limit)
    }
}

/// Watches nothing and has no room.
struct Nothing;

impl Source for Nothing {
    fn observe<'a>(
        &'a self,
        _: &'a Projection,
        _: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        Box::pin(ready(Ok(Observation::Absent)))
    }
}

impl Availability for Nothing {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        Box::pin(ready(Ok(Free::Slots(0))))
    }
}

#[actix_rt::test]
async fn an_actor_that_hangs_keeps_the_signs_of_life_back_until_it_goes_on() {
    let mut systemd = Systemd::listen();
    systemd.set("WATCHDOG_USEC", "20000");
    let open = Arc::new((Mutex::new(false), Condvar::new()));
    let store = HangingStore { store: MemoryStore::default(), open: Arc::clone(&open) };
    let setup = Setup::new(Settings::watching(Vec::new()), || Nothing, || Nothing);
    let handle = Dispatcher::new(setup, store).start().expect("a dispatcher");
    let mut attending = Box::pin(systemd.manager().attend(handle.clone()));
    assert!(timeout(Duration::from_millis(500), &mut attending).await.is_err());
    let count = |systemd: &Systemd| systemd.received().iter().filter(|message| *message == "WATCHDOG=1").count();
    assert_eq!(count(&systemd), 0);

    *open.0.lock().expect("no panic") = true;
    open.1.notify_all();
    let lives = async {
        while count(&systemd) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut attending => panic!("it attends for as long as it is asked to"),
        lives = timeout(Duration::from_secs(20), lives) => lives.expect("a sign of life"),
    }
    handle.shutdown(Duration::ZERO).await;
}

#[actix_rt::test]
async fn without_a_watchdog_of_our_own_there_are_no_signs_of_life() {
    tokio::time::pause();
    for (limit, pid) in [("", ""), ("0", ""), ("-1", ""), ("soon", ""), ("60000000", "1")] {
        let mut systemd = Systemd::listen();
        systemd.set("WATCHDOG_USEC", limit);
        systemd.set("WATCHDOG_PID", pid);
        let manager = systemd.manager();
        assert!(
            timeout(Duration::from_secs(600), manager.live(|| ready(Ok::<_, String>(())))).await.is_ok(),
            "{limit}"
        );
        assert_eq!(systemd.received(), [""; 0]);
    }
}

#[actix_rt::test]
async fn the_shortest_time_allowed_is_no_mishap() {
    let mut systemd = Systemd::listen();
    systemd.set("WATCHDOG_USEC", "1");
    let manager = systemd.manager();
    let live = manager.live(|| ready(Ok::<_, String>(())));
    assert!(timeout(Duration::from_millis(20), live).await.is_err());
    assert!(!systemd.received().is_empty());
}

#[test]
fn the_status_begins_with_the_phase() {
    assert_eq!(standing(Phase::Waiting, "0 of 2 needed slots free"), "waiting: 0 of 2 needed slots free");
    assert_eq!(standing(Phase::Paused, "paused by hand"), "paused by hand");
}
