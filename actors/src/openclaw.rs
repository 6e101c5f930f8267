//! OpenClaw as the actors see it: who says how much room it has, and the connection to its gateway.

mod capacity;
pub mod gateway;
mod room;
mod status;

pub use gateway::{Gateway, GatewayError, GatewayErrorKind, GatewayOptions};
pub use room::{GatewayAvailability, StatusOrGateway};
pub use status::{StatusEndpoint, StatusOptions};
