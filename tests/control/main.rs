//! The control server, end to end: the real daemon, asked and steered over real sockets.

mod access;
mod calls;
mod events;
mod load;
mod reload;
#[path = "../support/mod.rs"]
mod support;
