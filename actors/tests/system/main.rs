//! The actor system as a whole, on paused time.

mod delivery;
mod support;
mod timings;
