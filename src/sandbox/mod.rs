//! The sandbox: stand-ins for OGraph and OpenClaw on loopback, and a little story that makes them change.

pub(crate) mod ograph;
pub(crate) mod openclaw;
mod server;
pub(crate) mod story;
