//! Why an exchange failed, in words.

use std::{error::Error as _, fmt, io, time::Duration};

use awc::error::{ConnectError, PayloadError, SendRequestError};

/// Why there is no answer.
///
/// The message is one line in lower case that names the cause, never the URL or a header: callers add the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// The class of the failure.
    pub kind: HttpErrorKind,
    /// The cause, e.g. `connection refused`.
    pub message: String,
    /// Whether the peer may have seen the request; `false` only if it certainly did not.
    pub sent: bool,
}

/// The classes of failure; logs and metrics share these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The request cannot be built from this URL or these headers.
    Invalid,
    /// No connection: refused, unreachable, the name does not resolve, the proxy declined.
    Connect,
    /// No trust: the certificate or the handshake.
    Tls,
    /// No complete answer in time.
    Timeout,
    /// The exchange broke off: reset, closed, truncated, garbage.
    Transport,
    /// The body is larger than allowed.
    TooLarge,
    /// A redirect that leads nowhere, in circles, or from https to http.
    Redirect,
    /// The body cannot be decoded.
    Encoding,
}

impl HttpErrorKind {
    /// The word for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Encoding => "encoding",
        }
    }
}

impl fmt::Display for HttpErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl HttpError {
    /// An error after the request may have been sent.
    pub(super) fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), sent: true }
    }

    /// An error before anything was sent.
    pub(super) fn unsent(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), sent: false }
    }

    pub(super) fn timeout(timeout: Duration) -> Self {
        Self::new(HttpErrorKind::Timeout, format!("no complete answer within {}", seconds(timeout)))
    }

    pub(super) fn unconnected(timeout: Duration) -> Self {
        Self::unsent(HttpErrorKind::Timeout, format!("no connection within {}", seconds(timeout)))
    }

    pub(super) fn cut_off() -> Self {
        Self::new(HttpErrorKind::Transport, "the answer was cut off")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(HttpErrorKind::TooLarge, format!("the answer is larger than {limit} bytes"))
    }
}

/// A duration as people write it: `10s`, `1.5s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

impl From<SendRequestError> for HttpError {
    fn from(error: SendRequestError) -> Self {
        use HttpErrorKind::{Connect, Invalid, Transport};
        match error {
            SendRequestError::Url(error) => Self::unsent(Invalid, format!("not a usable URL: {error}")),
            SendRequestError::Http(error) => Self::unsent(Invalid, format!("not a valid request: {error}")),
            SendRequestError::Connect(ConnectError::Disconnected) => {
                Self::new(Transport, "the connection was closed before an answer came")
            }
            SendRequestError::Connect(ConnectError::Io(error)) => from_connect_io(&error),
            // Connecting has a deadline of its own, so this is the handshake.
            SendRequestError::Connect(ConnectError::Timeout) => {
                Self::unsent(HttpErrorKind::Timeout, "no TLS handshake in time")
            }
            SendRequestError::Connect(error) => Self::unsent(Connect, format!("no connection: {error}")),
            SendRequestError::Send(error) => Self::new(Transport, io_words(&error)),
            SendRequestError::Response(error) => match error.source().and_then(|source| source.downcast_ref()) {
                Some(io) => from_read_io(io),
                None => Self::new(Transport, format!("not an HTTP answer: {error}")),
            },
            SendRequestError::Timeout => Self::new(HttpErrorKind::Timeout, "no answer in time"),
            other => Self::new(Transport, format!("the exchange failed: {other}")),
        }
    }
}

impl From<PayloadError> for HttpError {
    fn from(error: PayloadError) -> Self {
        use HttpErrorKind::Transport;
        match error {
            PayloadError::Incomplete(None) => Self::cut_off(),
            PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => from_read_io(&error),
            error => Self::new(Transport, format!("the answer broke off: {error}")),
        }
    }
}

/// An I/O error while connecting. Our own connector wraps our errors into one, rustls its own.
fn from_connect_io(error: &io::Error) -> HttpError {
    if let Some(ours) = error.get_ref().and_then(|inner| inner.downcast_ref::<HttpError>()) {
        return ours.clone();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => HttpError::unsent(HttpErrorKind::Tls, tls_words(tls)),
        None => HttpError::unsent(HttpErrorKind::Connect, io_words(error)),
    }
}

/// An I/O error while reading an answer.
fn from_read_io(error: &io::Error) -> HttpError {
    match error.kind() {
        // awc's codec was left with bytes that make no whole.
        io::ErrorKind::Other | io::ErrorKind::UnexpectedEof => HttpError::cut_off(),
        _ => HttpError::new(HttpErrorKind::Transport, io_words(error)),
    }
}

/// What a TLS failure means.
fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as C, Error as E};
    match error {
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "the certificate has expired".to_owned(),
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "the certificate is not valid yet; is the clock right?".to_owned()
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the certificate is for another name".to_owned()
        }
        E::InvalidCertificate(C::UnknownIssuer) => {
            "the certificate comes from an authority that this system does not trust".to_owned()
        }
        E::InvalidMessage(_) => "it does not speak TLS; is the URL to begin with http instead of https?".to_owned(),
        error => format!("TLS failed: {error}"),
    }
}

/// The cause of an I/O error without its number.
pub(super) fn io_words(error: &io::Error) -> String {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => "connection refused".to_owned(),
        K::ConnectionReset => "connection reset".to_owned(),
        K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => "the connection was closed early".to_owned(),
        K::HostUnreachable | K::NetworkUnreachable => "the host is unreachable".to_owned(),
        K::TimedOut => "the connection timed out".to_owned(),
        kind => error.get_ref().map_or_else(|| kind.to_string(), ToString::to_string),
    }
}
