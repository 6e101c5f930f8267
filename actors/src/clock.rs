//! The one place where the system reads the time.
//!
//! Deadlines run on monotonic time (tokio's, so that tests can pause it); wall-clock time is only written down: in
//! documents, in the store, in what is shown. A clock that jumps therefore moves no timer.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::model::time::Timestamp;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the clock was made; the only time that deadlines are compared with.
    pub mono: Duration,
    /// Wall-clock time; it may jump.
    pub wall: Timestamp,
}

/// Where the actors read the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Now;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Now {
        (**self).now()
    }
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let wall = jiff::Timestamp::now().into();
        Now { mono: self.start.elapsed(), wall }
    }
}

/// A clock whose wall time starts at a given moment and moves with tokio's, which tests can pause.
#[derive(Debug)]
pub struct TestClock {
    start: Instant,
    epoch: Timestamp,
}

impl TestClock {
    /// A clock that reads `epoch` now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self { start: Instant::now(), epoch }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let mono = self.start.elapsed();
        Now { mono, wall: self.epoch + mono }
    }
}
