//! The actor system as a whole, on paused time.

mod day;
mod delivery;
mod races;
mod support;
mod timings;
