//! OpenClaw as the actors see it: who says how much room it has, and the connection to its gateway.

mod status;

pub use status::{StatusEndpoint, StatusOptions};
