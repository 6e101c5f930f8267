//! The embeddable actor system of `ograph-dispatcher`.

pub mod availability;
pub mod clock;
pub mod model;
pub mod receivers;
pub mod source;
pub mod store;
