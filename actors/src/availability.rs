//! Who says how much room the agents have: the [`Availability`] trait.

use std::{fmt, time::Duration};

use futures_util::future::LocalBoxFuture;

use crate::model::availability::Free;

/// Tells how many slots are free.
///
/// # Guarantees asked of an implementation
/// - When in doubt, an error: an error means *not available*, and nothing is pushed.
/// - Cancel-safe, and it ends by itself.
///
/// Never called twice at the same time. A panic inside the future is caught and counts as an error.
pub trait Availability: 'static {
    /// The free slots now.
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>>;
}

/// Room that never changes, for hosts that have no limit: `Free::Room(true)`, or so many slots.
impl Availability for Free {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        Box::pin(std::future::ready(Ok(*self)))
    }
}

/// Why the availability is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AvailabilityError {
    /// The class of the failure.
    pub kind: AvailabilityErrorKind,
    /// One line for people: lower case, no secrets, the same words for the same cause.
    pub message: String,
    /// How long the gateway asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl AvailabilityError {
    /// An error without a `Retry-After`.
    pub fn new(kind: AvailabilityErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Whether it says the same to people: when another try is of use changes all the time.
    pub(crate) fn has_the_cause_of(&self, other: &Self) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
    }
}

/// The classes of failure; logs and metrics share these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AvailabilityErrorKind {
    /// The token was refused (401, 403).
    Unauthorized,
    /// There is no such endpoint (404).
    NotFound,
    /// Too many requests (429).
    RateLimited,
    /// The gateway failed or is starting (5xx).
    Server,
    /// No answer: refused, reset, TLS, DNS, truncated.
    Transport,
    /// No complete answer in time.
    Timeout,
    /// Not JSON (OpenClaw's web UI answers unknown paths with 200 `text/html`), or too large.
    NotJson,
    /// JSON in which no rule finds free slots.
    NotUnderstood,
    /// The implementation failed.
    Internal,
}

impl AvailabilityErrorKind {
    /// The word for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::NotJson => "not_json",
            Self::NotUnderstood => "not_understood",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for AvailabilityErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
