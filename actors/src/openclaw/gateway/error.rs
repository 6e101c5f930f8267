//! Why a call to the gateway failed, in words.

use std::time::Duration;

use crate::availability::{AvailabilityError, AvailabilityErrorKind};

/// Why a call has no result.
///
/// The message is one line in lower case that names the gateway and a remedy, and never contains the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GatewayError {
    /// The class of the failure.
    pub kind: GatewayErrorKind,
    /// What happened; the same words for the same cause.
    pub message: String,
    /// Whether the gateway may have seen the call; `false` only if it certainly did not.
    pub sent: bool,
    /// No other call is of use before this time has passed.
    pub retry_after: Option<Duration>,
}

/// The classes of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayErrorKind {
    /// The token was refused, or does not suffice.
    Unauthorized,
    /// The gateway speaks another version of the protocol.
    ProtocolMismatch,
    /// The gateway is starting or restarting.
    Starting,
    /// No connection: refused, unreachable, TLS, or something else listens there.
    Down,
    /// The connection ended before the answer came, or the peer went silent.
    Closed,
    /// No answer in time.
    Timeout,
    /// What came was not the gateway's protocol, or too large.
    Garbage,
    /// The gateway answered with an error.
    Refused(Box<Refusal>),
}

/// An error that the gateway answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// `error.code`, e.g. `INVALID_REQUEST`, `UNAVAILABLE`.
    pub code: String,
    /// `error.details.code`, e.g. `OUTBOUND_DELIVERY_QUEUED`.
    pub detail: Option<String>,
    /// `error.details.reason`, e.g. `startup-sidecars`.
    pub reason: Option<String>,
    /// `error.retryable`.
    pub retryable: Option<bool>,
    /// `error.retryAfterMs`.
    pub retry_after: Option<Duration>,
    /// `error.message` as it was sent: to be cleaned before it is shown.
    pub message: String,
}

impl Refusal {
    /// The code of an error that may pass.
    const UNAVAILABLE: &str = "UNAVAILABLE";

    /// Whether the gateway, or something behind it, cannot serve the call just now.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.code == Self::UNAVAILABLE
    }

    /// What it means as the answer to the handshake.
    pub(super) fn kind_at_handshake(&self) -> GatewayErrorKind {
        match self.detail.as_deref() {
            Some("PROTOCOL_MISMATCH") => GatewayErrorKind::ProtocolMismatch,
            Some(detail) if ["AUTH_", "DEVICE_", "PAIRING_"].iter().any(|prefix| detail.starts_with(prefix)) => {
                GatewayErrorKind::Unauthorized
            }
            _ if self.is_unavailable() => GatewayErrorKind::Starting,
            _ => GatewayErrorKind::Refused(Box::new(self.clone())),
        }
    }
}

impl From<GatewayError> for AvailabilityError {
    fn from(error: GatewayError) -> Self {
        let kind = match &error.kind {
            GatewayErrorKind::Unauthorized => AvailabilityErrorKind::Unauthorized,
            GatewayErrorKind::ProtocolMismatch => AvailabilityErrorKind::NotUnderstood,
            GatewayErrorKind::Starting | GatewayErrorKind::Refused(_) => AvailabilityErrorKind::Server,
            GatewayErrorKind::Down | GatewayErrorKind::Closed => AvailabilityErrorKind::Transport,
            GatewayErrorKind::Timeout => AvailabilityErrorKind::Timeout,
            GatewayErrorKind::Garbage => AvailabilityErrorKind::NotJson,
        };
        Self { kind, message: error.message, retry_after: error.retry_after }
    }
}
