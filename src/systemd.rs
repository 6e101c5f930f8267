//! What systemd is told about the daemon: ready, reloading, stopping, a line of status, and signs of life.
//!
//! The protocol is `sd_notify(3)`: datagrams of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Where that
//! variable is not set, or the system has no such sockets, all of this does nothing.
//!
//! # Guarantees
//! - Nobody waits for systemd longer than [`PATIENCE`], and no failure to reach it is more than a line of log.
//! - A sign of life is sent only after every actor has answered, so that a daemon that hangs is restarted.
//! - Text from elsewhere stays within its line: it cannot say anything else to systemd.

use std::{cell::Cell, ffi::OsString, fmt::Display, future::Future, io, rc::Rc, time::Duration};

use futures_util::{Stream, StreamExt as _, future::join};
use ograph_dispatcher_actors::{Handle, events::Event};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::Environment;

/// How long one message may take; systemd reads at once unless it is in trouble itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest line of status, in characters.
const STATUS: usize = 200;

/// The service manager that started this process, if it is systemd and wants to hear of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager {
    /// A path, or a name after `@`.
    socket: Option<OsString>,
    /// After how long without a sign of life the daemon is taken for dead.
    watchdog: Option<Duration>,
    /// Whether the last message got lost: reported on the edge.
    lost: Rc<Cell<bool>>,
}

impl Manager {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    pub(crate) fn of(environment: &Environment) -> Self {
        let number = |name| environment.variable(name).ok().flatten().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self {
            socket: environment
                .variables
                .get(&OsString::from("NOTIFY_SOCKET"))
                .filter(|name| !name.is_empty())
                .cloned(),
            watchdog: number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros),
            lost: Rc::default(),
        }
    }

    /// Everything runs; also after a reload.
    pub(crate) async fn ready(&self) {
        self.send("READY=1").await;
    }

    /// The end has begun.
    pub(crate) async fn stopping(&self) {
        self.send("STOPPING=1").await;
    }

    /// Carries out a reload, and says when it begins and ends. (It ends also if it failed: the old configuration runs.)
    pub(crate) async fn during_reload(&self, reload: impl Future<Output = ()>) {
        match monotonic_micros() {
            Some(now) => self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}")).await,
            None => self.send("RELOADING=1").await,
        }
        reload.await;
        self.ready().await;
    }

    /// Keeps systemd informed for as long as this future is polled: why nothing is sent, and that all actors live.
    pub(crate) async fn attend(self, handle: Handle) {
        let first = futures_util::stream::iter([handle.status().scheduler.reason.clone()]);
        let later = handle.subscribe().filter_map(async |record| match &record.event {
            Event::Standing { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        join(self.show(first.chain(later)), self.live(async || handle.ping().await)).await;
    }

    /// Sends each line as the status that `systemctl status` shows.
    async fn show(&self, lines: impl Stream<Item = String>) {
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            if !line.is_empty() {
                self.send(&format!("STATUS={}", one_line(&line))).await;
            }
        }
    }

    /// Sends a sign of life twice within the watchdog's time, each only after `ping` went well.
    async fn live<E: Display>(&self, ping: impl AsyncFn() -> Result<(), E>) {
        let Some(limit) = self.watchdog.filter(|_| self.socket.is_some()) else { return };
        let mut times = interval((limit / 2).max(Duration::from_millis(1)));
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            match ping().await {
                Ok(()) => self.send("WATCHDOG=1").await,
                Err(error) => log::warn!("no sign of life for systemd, which may restart the daemon: {error}"),
            }
        }
    }

    async fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = match timeout(PATIENCE, deliver(socket, message)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let lost = sent.is_err();
        if let Err(error) = sent.as_ref()
            && !self.lost.get()
        {
            log::warn!("systemd cannot be told ({}): {error}", message.lines().next().unwrap_or_default());
        }
        self.lost.set(lost);
    }
}

/// Sends one datagram. The socket is opened anew each time: messages are rare, and systemd may have been restarted.
#[cfg(unix)]
async fn deliver(socket: &OsString, message: &str) -> io::Result<()> {
    let ours = std::os::unix::net::UnixDatagram::unbound()?;
    ours.connect_addr(&address(socket)?)?;
    ours.set_nonblocking(true)?;
    actix_rt::net::UnixDatagram::from_std(ours)?.send(message.as_bytes()).await.map(drop)
}

#[cfg(not(unix))]
async fn deliver(_: &OsString, _: &str) -> io::Result<()> {
    Ok(())
}

/// The address that a value of `NOTIFY_SOCKET` means.
#[cfg(unix)]
fn address(socket: &OsString) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::unix::{ffi::OsStrExt as _, net::SocketAddr};

    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    if socket.as_bytes().starts_with(b"/") {
        return SocketAddr::from_pathname(socket);
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET is neither a path nor an abstract name"))
}

/// What systemd's own monotonic clock reads, in microseconds.
#[cfg(unix)]
fn monotonic_micros() -> Option<u64> {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).ok()?, u64::try_from(now.tv_nsec).ok()?);
    Some(seconds * 1_000_000 + nanos / 1_000)
}

#[cfg(not(unix))]
fn monotonic_micros() -> Option<u64> {
    None
}

/// Text as one short line without control characters.
fn one_line(text: &str) -> String {
    text.chars().take(STATUS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(all(test, unix))]
mod tests;
