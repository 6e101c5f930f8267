//! The daemon `ograph-dispatcher`: command line and configuration around the embeddable `ograph-dispatcher-actors`.
//!
//! # Layout
//! - [`cli`]: the commands and their exit codes
//! - [`config`]: what may be set, and how it is loaded
//! - [`run`]: the daemon itself

pub mod cli;
pub mod config;
pub mod run;
