//! The whole job, end to end: the real daemon between an OGraph and an OpenClaw on real sockets.

mod disk;
mod faults;
mod hardships;
mod many;
mod process;
mod pushing;
mod receivers;
mod seeing;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod surviving;
mod tls;
