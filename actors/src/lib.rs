//! The embeddable actor system of `ograph-dispatcher`.

pub mod availability;
pub mod clock;
pub mod dispatcher;
pub mod events;
mod failpoint;
pub mod http;
pub mod messages;
pub mod model;
pub mod ograph;
pub mod openclaw;
mod pending;
pub mod receivers;
mod scheduler;
pub mod secret;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
pub mod supervision;
mod supervisor;
mod watcher;

pub use dispatcher::{Dispatcher, Ended, Handle, Setup};
pub use settings::Settings;
pub use supervisor::SupervisorActor;

#[cfg(test)]
#[path = "../../tests/support/fault_server.rs"]
mod fault_server;

#[cfg(test)]
#[path = "../../tests/support/gateway_server.rs"]
mod gateway_server;
