//! What the system tells the daemon.

use std::io;

/// A wish of whoever runs the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT: stop, gracefully; the second time at once.
    Stop,
    /// SIGHUP: load the configuration anew.
    Reload,
    /// SIGUSR1: push now.
    Flush,
}

/// The signals of this process, from [`listen`](Self::listen) on.
pub(crate) struct Signals {
    #[cfg(unix)]
    unix: [(Signal, actix_rt::signal::unix::Signal); 4],
}

#[cfg(unix)]
impl Signals {
    /// Takes over the signals.
    pub(crate) fn listen() -> io::Result<Self> {
        use actix_rt::signal::unix::{SignalKind, signal};
        Ok(Self {
            unix: [
                (Signal::Stop, signal(SignalKind::terminate())?),
                (Signal::Stop, signal(SignalKind::interrupt())?),
                (Signal::Reload, signal(SignalKind::hangup())?),
                (Signal::Flush, signal(SignalKind::user_defined1())?),
            ],
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (meaning, signal) in &mut self.unix {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*meaning);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Takes over the signals.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        match actix_rt::signal::ctrl_c().await {
            Ok(()) => Signal::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}
