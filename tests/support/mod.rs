//! Support for the end-to-end tests: the daemon as a process, and the world around it as servers that can misbehave.
//!
//! | Piece | What it is |
//! |---|---|
//! | [`client`] | a client of the control server |
//! | [`daemon`] | the real program, with its own folder, configuration and log |
//! | [`ograph`] | OGraph, with a behaviour for each projection |
//! | [`openclaw`] | OpenClaw's status, its plugin route and a webhook, with scripted answers; a stub of its CLI |
//! | [`server`] | the raw HTTP server below them |
//! | [`tls`] | TLS in front of it, with [`certificates`] that can be wrong |
//! | [`job`] | all of it put together, and the documents that were delivered |
#![allow(clippy::allow_attributes, dead_code, unused_imports, reason = "every test binary uses another part of it")]

mod certificates;
mod client;
mod daemon;
mod job;
mod ograph;
mod openclaw;
mod server;
mod tls;

use std::time::{Duration, Instant};

pub(crate) use client::{Client, Event, Events, Response, read_response};
pub(crate) use daemon::{Daemon, Setup, Signal};
pub(crate) use job::{DEADLINE, Job, change_of, documents_in, keys};
pub(crate) use ograph::OGraph;
pub(crate) use openclaw::{OpenClaw, StubCli};
pub(crate) use server::{Answer, Reply, Request, TestServer};
pub(crate) use tls::{Manner, TlsFront};

/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics with `what` if it does not within `deadline`.
///
/// The panic message is enough: the daemon shows the end of its log when it is dropped by a panic.
#[track_caller]
pub(crate) fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(deadline, what, || condition().then_some(()));
}

/// Waits until `look` finds something; panics with `what` if it does not within `deadline`.
#[track_caller]
pub(crate) fn wait_for<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        nap(LOOK);
    }
}

/// Lets real time pass in which something is measured or must not happen. Never to give something time to happen.
pub(crate) fn observe_for(time: Duration) {
    nap(time);
}

/// Real time.
#[expect(clippy::disallowed_methods, reason = "tests over real sockets and processes run in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests wait, between two looks at a condition")]
fn nap(time: Duration) {
    std::thread::sleep(time);
}
