//! WebSockets: opened with the same proxies, names and trust as every other connection.

use std::{sync::Arc, time::Duration};

use awc::{
    Client, Connector,
    error::{SendRequestError, WsClientError, WsProtocolError},
    http::{StatusCode, header},
    ws::{Frame, Message},
};
use futures_util::{Sink, Stream};
use tokio::time::timeout;
use url::{Position, Url};

use super::{
    HttpClient, USER_AGENT,
    connect::Dial,
    error::{HttpError, HttpErrorKind},
};

/// The size of the buffers is bounded by that of a frame.
pub(crate) trait WebSocket:
    Stream<Item = Result<Frame, WsProtocolError>> + Sink<Message, Error = WsProtocolError> + Unpin
{
}

impl<S> WebSocket for S where
    S: Stream<Item = Result<Frame, WsProtocolError>> + Sink<Message, Error = WsProtocolError> + Unpin
{
}

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeError {
    /// There is no connection, or no answer on it.
    Http(HttpError),
    /// The server answered with this status instead.
    Status(u16),
    /// The server agreed, but not to this.
    NoWebSocket,
}

impl From<HttpError> for UpgradeError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl HttpClient {
    /// Opens a WebSocket to `url` (`ws`, `wss`, `http` or `https`) within `limit`. A frame larger than `max_frame` bytes
    /// ends it. Redirects are not followed, and the credentials of the URL are not sent.
    ///
    /// Cancel-safe: dropping the future closes the connection.
    pub(crate) async fn websocket(
        &self,
        url: &Url,
        limit: Duration,
        max_frame: usize,
    ) -> Result<impl WebSocket + use<>, UpgradeError> {
        let (client, uri) = self.for_websocket(url).await?;
        let connect = client.ws(uri).max_frame_size(max_frame).set_header(header::USER_AGENT, USER_AGENT).connect();
        match timeout(limit, connect).await {
            Ok(Ok((_, socket))) => Ok(socket),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(HttpError::timeout(limit).into()),
        }
    }

    /// A client of its own for every WebSocket: it never goes back to a pool.
    async fn for_websocket(&self, url: &Url) -> Result<(Client, String), HttpError> {
        let (scheme, secure) = match url.scheme() {
            "ws" | "http" => ("http", false),
            "wss" | "https" => ("https", true),
            _ => return Err(HttpError::unsent(HttpErrorKind::Invalid, "only ws, wss, http and https can be opened")),
        };
        let options = &self.0.options;
        let mut connector = Connector::new()
            .connector(Dial::tunnelling(self.0.proxy.clone(), options.connect_timeout))
            .timeout(options.connect_timeout * 2)
            .handshake_timeout(options.connect_timeout);
        if secure {
            let mut tls = options.roots.config().await?;
            // HTTP/2 has another way to open one, which awc does not know.
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            connector = connector.rustls_0_23(Arc::new(tls));
        }
        let client = Client::builder().connector(connector).disable_timeout().disable_redirects().finish();
        Ok((client, format!("{scheme}://{}", &url[Position::BeforeHost..Position::AfterQuery])))
    }
}

impl From<WsClientError> for UpgradeError {
    fn from(error: WsClientError) -> Self {
        match error {
            // 200 is an answer like any other.
            WsClientError::InvalidResponseStatus(status) if status != StatusCode::SWITCHING_PROTOCOLS => {
                Self::Status(status.as_u16())
            }
            WsClientError::SendRequest(SendRequestError::Url(_)) => {
                Self::Http(HttpError::unsent(HttpErrorKind::Invalid, "not a URL that can be opened"))
            }
            WsClientError::SendRequest(error) => Self::Http(error.into()),
            _ => Self::NoWebSocket,
        }
    }
}
