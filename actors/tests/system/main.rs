//! The actor system as a whole, on paused time.

mod day;
mod delivery;
mod orders;
mod races;
mod support;
mod timings;
