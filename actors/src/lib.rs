//! The embeddable actor system of `ograph-dispatcher`.

pub mod availability;
pub mod clock;
pub mod http;
pub mod model;
pub mod receivers;
pub mod secret;
pub mod source;
pub mod store;
