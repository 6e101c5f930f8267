//! The pure model: no I/O, no clock, no actor. Everything that decides stands here and is tested without a runtime.

pub mod availability;
pub mod backoff;
pub mod document;
pub mod key;
pub mod merge;
pub mod pacing;
pub mod patch;
pub mod pointer;
pub mod receiver;
pub mod retry_after;
pub mod schedule;
pub mod time;
pub mod value;
