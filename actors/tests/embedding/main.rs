//! The dispatcher inside of other programs: hosts of every kind, how it ends in them, and what it tells them.

mod endings;
mod hosts;
mod listening;
mod without_a_runtime;

#[path = "../system/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the system")]
mod support;
