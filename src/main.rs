//! x
#![cfg_attr(not(test), expect(dead_code, reason = "the command that plays the sandbox is not here yet"))]
mod sandbox;
fn main() {}
