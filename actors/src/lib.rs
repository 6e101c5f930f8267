//! The embeddable actor system of `ograph-dispatcher`.

pub mod availability;
pub mod clock;
mod dispatcher;
pub mod events;
mod failpoint;
mod handle;
pub mod http;
pub mod http_json;
mod json_poll;
pub mod messages;
pub mod model;
pub mod ograph;
pub mod openclaw;
mod pending;
pub mod receivers;
mod scheduler;
pub mod secret;
pub mod settings;
mod setup;
mod shared;
pub mod source;
pub mod status;
pub mod store;
pub mod supervision;
mod supervisor;
pub mod totals;
mod watcher;

pub use dispatcher::{Builder, Dispatcher, StartError};
pub use handle::{Ended, Handle};
pub use settings::Settings;
pub use setup::{AvailabilityFactory, ReceiverFactory, Setup, SetupError, SourceFactory};
pub use supervisor::SupervisorActor;

/// The server of faults that the end-to-end tests use, too.
#[cfg(test)]
#[path = "../../tests/support/fault_server.rs"]
mod fault_server;

/// A gateway of OpenClaw that misbehaves on demand.
#[cfg(test)]
#[path = "../../tests/support/gateway_server.rs"]
mod gateway_server;
