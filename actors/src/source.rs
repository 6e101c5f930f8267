//! Where projections come from: the [`Source`] trait and what it answers.

use std::{fmt, time::Duration};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{key::Projection, value::Digest};

/// Observes one projection at a time.
///
/// # Guarantees asked of an implementation
/// - A failed, partial or unreadable answer is an error, never a value and never [`Observation::Absent`].
/// - The future is cancel-safe: dropping it at any point has no effect but the lost answer.
/// - It ends by itself; the watcher sets no deadline of its own.
///
/// Calls for different projections run at the same time; never two for the same one. A panic inside the future is
/// caught and counts as a failed poll.
pub trait Source: 'static {
    /// Observes `projection`. `known` says what the last believed answer was, so that an unchanged one can be
    /// recognised without parsing it.
    fn observe<'a>(
        &'a self,
        projection: &'a Projection,
        known: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>>;
}

/// What identifies the last believed answer without holding its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The entity tag to send as `If-None-Match`.
    pub etag: Option<String>,
    /// A 128-bit hash of the raw body.
    pub body_hash: Option<Digest>,
}

/// What a source saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The same answer as last time (304, or the same bytes).
    Unchanged,
    /// A value. It may still equal the last one.
    Present {
        /// The projection's value, already taken out of its envelope.
        value: Value,
        /// What identifies this answer.
        validators: Validators,
    },
    /// The source says that there is no such projection (now).
    Absent,
}

/// Why a projection could not be observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The class of the failure.
    pub kind: SourceErrorKind,
    /// One line for people: lower case, no secrets.
    pub message: String,
    /// How long the source asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl SourceError {
    /// An error without a `Retry-After`.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }
}

/// The classes of failure; logs and metrics share these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceErrorKind {
    /// The token was refused (401, 403).
    Unauthorized,
    /// Too many requests (429).
    RateLimited,
    /// The server failed (5xx) or answered with a status that makes no sense here.
    Server,
    /// No answer: refused, reset, TLS, DNS, truncated.
    Transport,
    /// No complete answer in time.
    Timeout,
    /// An answer that is not the JSON expected.
    NotJson,
    /// An answer above the size limit.
    TooLarge,
    /// A redirect that leads nowhere.
    Redirect,
    /// The implementation of the source failed.
    Internal,
}

impl SourceErrorKind {
    /// The word for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for SourceErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
