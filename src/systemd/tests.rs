//! Every message as a real datagram socket receives it.

use std::{
    ffi::OsStr,
    future::{pending, ready},
    os::unix::net::UnixDatagram,
};

use futures_util::stream;
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
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
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| {
            self.socket.recv(&mut buffer).ok().map(|n| String::from_utf8(buffer[..n].into()).unwrap())
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
    let folder = tempfile::tempdir().unwrap();
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
    systemd.manager().show(stream::iter(["", "waiting\nMAINPID=1\r\u{1b}", &long].map(str::to_owned))).await;
    let received = systemd.received();
    assert_eq!(received[0], "STATUS=waiting MAINPID=1  ");
    assert_eq!(received[1].len(), "STATUS=".len() + STATUS);
    assert_eq!(received.len(), 2, "an empty one is none");
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
    let hanging = manager.live(|| pending::<Result<(), String>>());
    assert!(timeout(Duration::from_secs(600), hanging).await.is_err());
    let failing = manager.live(|| ready(Err("the watcher did not answer")));
    assert!(timeout(Duration::from_secs(600), failing).await.is_err());
    assert_eq!(systemd.received(), [""; 0]);
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
