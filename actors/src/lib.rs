//! The embeddable actor system of `ograph-dispatcher`.

pub mod availability;
pub mod clock;
pub mod http;
pub mod model;
pub mod ograph;
pub mod openclaw;
pub mod receivers;
pub mod secret;
pub mod source;
pub mod store;

#[cfg(test)]
#[path = "../../tests/support/fault_server.rs"]
mod fault_server;
