//! The pure model: no I/O, no clock, no actor. Everything that decides stands here and is tested without a runtime.

pub mod availability;
#[expect(unreachable_pub, reason = "for the actors only; its parts read like those of a library")]
pub(crate) mod backoff;
pub mod document;
pub mod key;
pub mod merge;
#[expect(unreachable_pub, reason = "for the actors only; its parts read like those of a library")]
pub(crate) mod pacing;
pub mod patch;
pub mod pointer;
pub mod receiver;
pub mod retry_after;
#[expect(unreachable_pub, reason = "for the actors only; its parts read like those of a library")]
pub(crate) mod schedule;
pub mod time;
pub mod value;
