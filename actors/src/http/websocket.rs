//! WebSockets: opened with the same proxies, names and trust as every other connection.

use std::{sync::Arc, time::Duration};

use actix_codec::{Decoder, Encoder};
use awc::{
    Client, Connector,
    error::{SendRequestError, WsClientError, WsProtocolError},
    http::{StatusCode, header},
    ws::{Codec, Frame, Message},
};
use bytes::BytesMut;
use futures_util::{Sink, Stream};
use tokio::time::timeout;
use url::{Position, Url};

use super::{
    HttpClient, USER_AGENT,
    connect::Dial,
    error::{HttpError, HttpErrorKind},
};

/// Reads frames and writes messages. What is buffered is bounded by the size of a frame.
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
            Ok(Ok((_, socket))) => Ok(socket.into_map_codec(|codec| Bounded { codec, max_frame })),
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

/// awc's codec reads a frame to its end before it finds it too large; this one does not begin.
struct Bounded {
    codec: Codec,
    max_frame: usize,
}

impl Decoder for Bounded {
    type Item = Frame;
    type Error = WsProtocolError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, WsProtocolError> {
        match announced(bytes) {
            Some(length) if length > self.max_frame as u64 => Err(WsProtocolError::Overflow),
            _ => self.codec.decode(bytes),
        }
    }
}

impl Encoder<Message> for Bounded {
    type Error = WsProtocolError;

    fn encode(&mut self, message: Message, bytes: &mut BytesMut) -> Result<(), WsProtocolError> {
        self.codec.encode(message, bytes)
    }
}

/// The length of the payload that the beginning of a frame announces (RFC 6455, 5.2), once it is there.
fn announced(bytes: &[u8]) -> Option<u64> {
    match bytes.get(1)? & 0x7f {
        126 => bytes.get(2..4)?.try_into().ok().map(u16::from_be_bytes).map(u64::from),
        127 => bytes.get(2..10)?.try_into().ok().map(u64::from_be_bytes),
        length => Some(u64::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_frame_is_known_from_its_beginning() {
        for (bytes, length) in [
            (&[][..], None),
            (&[0x81], None),
            (&[0x81, 5], Some(5)),
            (&[0x81, 0x80 | 125, 0], Some(125)),
            (&[0x81, 126, 1], None),
            (&[0x81, 126, 1, 2], Some(258)),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 1], None),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 1, 2, 9], Some(258)),
            (&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255], Some(u64::MAX)),
        ] {
            assert_eq!(announced(bytes), length, "{bytes:?}");
        }
    }
}
