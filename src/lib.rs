//! The daemon `ograph-dispatcher`: command line and configuration around the embeddable `ograph-dispatcher-actors`.
//!
//! # Layout
//! - [`cli`]: the commands and their exit codes
//! - [`config`]: what may be set, and how it is loaded
//! - [`run`]: the daemon itself: store, actors, signals
//! - `assemble`: from a configuration to the parts of the actor system
//! - `control`: shows and steers the running daemon: HTTP, events, metrics, the status page
//! - `events_file`: the audit trail as a file
//! - `logging`: where log lines go, as text or JSON
//! - `reload`: another configuration while it runs
//! - `sandbox`: the whole job on this machine alone
//! - `signals`: what the system tells the daemon
//! - `systemd`: what the daemon tells systemd

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod assemble;
pub mod cli;
pub mod config;
mod control;
mod events_file;
mod logging;
mod reload;
pub mod run;
mod sandbox;
mod signals;
mod systemd;
