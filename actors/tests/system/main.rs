//! The actor system as a whole, on paused time.

mod delivery;
#[expect(dead_code, reason = "shared with the other tests of the system")]
mod support;
mod timings;
