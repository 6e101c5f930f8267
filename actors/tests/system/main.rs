//! The actor system as a whole, on paused time.

mod delivery;
mod restarts;
mod support;
mod timings;
