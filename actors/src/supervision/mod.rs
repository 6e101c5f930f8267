//! Restart on panic, in place.
//!
//! actix's own `Supervisor` restarts an actor that stopped; a panic unwinds through it, and the actor is gone for good
//! while the process looks healthy. Here a guard polls the actor's context inside `catch_unwind` and restarts it where
//! it stands: address and mailbox survive, messages sent meanwhile wait.
//!
//! | What panics | What happens |
//! |---|---|
//! | a handler, `started`, `restarting`, a timer, a future of the actor's context | the actor is restarted; the message being handled fails with `MailboxError::Closed` |
//! | a source, an availability or a receiver | caught where it is called; it counts as a failed poll or delivery |
//! | an actor more often than the [`RestartPolicy`] allows | escalation: the dispatcher ends, its host is told |

mod guard;
mod panics;
mod policy;

pub(crate) use guard::{Judge, start};
pub use panics::Panic;
pub(crate) use panics::{CatchPanic, catch};
pub(crate) use policy::Intensity;
pub use policy::RestartPolicy;
pub(crate) use policy::Verdict;
