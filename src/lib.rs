//! The daemon `ograph-dispatcher`: command line and configuration around the embeddable `ograph-dispatcher-actors`.
//!
//! # Layout
//! - [`cli`]: the commands and their exit codes
//! - [`config`]: what may be set, and how it is loaded
//! - [`run`]: the daemon itself: store, actors, signals
//! - `assemble`: from a configuration to the parts of the actor system
//! - `logging`: where log lines go, as text or JSON
//! - `sandbox`: the whole job on this machine alone
//! - `signals`: what the system tells the daemon
//! - `systemd`: what the daemon tells systemd

mod assemble;
pub mod cli;
pub mod config;
mod logging;
pub mod run;
mod sandbox;
mod signals;
mod systemd;
