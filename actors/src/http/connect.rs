//! Opens connections, directly or through a proxy's tunnel, and keeps an eye on what happens to them.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::net::{ActixStream, Ready};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    error::{HttpError, HttpErrorKind, io_words},
    proxy::{Proxy, ProxyRules},
};

/// How many addresses of a name are tried.
const ADDRESSES: usize = 4;

/// The largest answer to `CONNECT` that is read.
const TUNNEL_HEAD: usize = 16 * 1024;

tokio::task_local! {
    /// The progress of the exchange that is being polled.
    ///
    /// awc says neither whether it took a connection from its pool nor how a body ended, but it opens and uses HTTP/1
    /// connections inside the future of the exchange, so the connections themselves can leave a note here.
    pub(super) static PROGRESS: Rc<Progress>;
}

/// What is known about a running exchange from below awc.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A new connection was asked for: none came from the pool.
    dialled: Cell<bool>,
    /// That connection, with its tunnel if there is one, stands.
    connected: Cell<bool>,
    /// Something was written to the connection in use.
    written: Cell<bool>,
    /// The connection in use came to its end after something was written.
    ended: Cell<bool>,
}

impl Progress {
    /// Forgets everything, before another attempt.
    pub(super) fn restart(&self) {
        self.dialled.set(false);
        self.connected.set(false);
        self.written.set(false);
        self.ended.set(false);
    }

    /// Whether a connection from the pool was used.
    pub(super) fn reused(&self) -> bool {
        !self.dialled.get()
    }

    /// Whether a new connection was asked for and does not stand yet.
    pub(super) fn dialling(&self) -> bool {
        self.dialled.get() && !self.connected.get()
    }

    /// Whether the peer may have seen the request. (A TLS handshake counts as well: nothing tells it apart from here.)
    pub(super) fn maybe_sent(&self) -> bool {
        self.reused() || self.written.get()
    }

    /// Whether the connection ended during the exchange.
    pub(super) fn ended(&self) -> bool {
        self.ended.get()
    }

    fn note(note: impl FnOnce(&Self)) {
        // Outside of an exchange (a pooled connection being closed, the driver of HTTP/2) nobody wants to know.
        let _ = PROGRESS.try_with(|progress| note(progress));
    }
}

/// Opens TCP connections for awc; where a proxy rules over https, with a tunnel through it.
#[derive(Clone)]
pub(super) struct Dial {
    proxy: Rc<ProxyRules>,
    timeout: Duration,
    /// Plain http goes through a tunnel as well.
    always_tunnel: bool,
}

impl Dial {
    pub(super) fn new(proxy: Rc<ProxyRules>, timeout: Duration) -> Self {
        Self { proxy, timeout, always_tunnel: false }
    }

    /// For connections that no proxy could pass on otherwise: WebSockets.
    pub(super) fn tunnelling(proxy: Rc<ProxyRules>, timeout: Duration) -> Self {
        Self { always_tunnel: true, ..Self::new(proxy, timeout) }
    }

    async fn dial(self, uri: Uri) -> Result<Connection<Uri, Wire>, ConnectError> {
        Progress::note(|progress| progress.dialled.set(true));
        let stream = timeout(self.timeout, self.connect(&uri))
            .await
            .unwrap_or_else(|_| Err(HttpError::unconnected(self.timeout)))
            .map_err(|error| ConnectError::Io(io::Error::other(error)))?;
        Progress::note(|progress| progress.connected.set(true));
        let secure = uri.scheme_str() == Some("https");
        Ok(Connection::new(uri, Wire { stream, secure }))
    }

    async fn connect(&self, uri: &Uri) -> Result<TcpStream, HttpError> {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        // Plain http through a proxy is addressed to the proxy already, unless it is to be tunnelled.
        let scheme = if secure { "https" } else { "http" };
        match self.proxy.find(scheme, host, port).filter(|_| secure || self.always_tunnel) {
            None => self.tcp(host, port).await,
            Some(proxy) => {
                let through =
                    |error: HttpError| HttpError { message: format!("the proxy: {}", error.message), ..error };
                let stream = self.tcp(&proxy.host, proxy.port).await.map_err(through)?;
                tunnel(stream, proxy, host, port).await.map_err(through)
            }
        }
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, HttpError> {
        let unsent = |message: String| HttpError::unsent(HttpErrorKind::Connect, message);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let addresses: Vec<_> = lookup_host((bare, port))
            .await
            .map_err(|_| unsent(format!("the name {bare} does not resolve")))?
            .take(ADDRESSES)
            .collect();
        let mut failure = unsent(format!("the name {bare} has no address"));
        // Each address gets its share of the time, so that one that swallows packets leaves some for the next.
        let share = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A request is written in one piece; waiting for more only delays it.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = unsent(io_words(&error)),
                Err(_) => failure = HttpError::unconnected(self.timeout),
            }
        }
        Err(failure)
    }
}

/// Asks `proxy` for a tunnel to `host`.
async fn tunnel(mut stream: TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, HttpError> {
    let unsent = |message: String| HttpError::unsent(HttpErrorKind::Connect, message);
    let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(authorization) = &proxy.authorization {
        ask.push_str("Proxy-Authorization: ");
        ask.push_str(authorization.expose());
        ask.push_str("\r\n");
    }
    ask.push_str("\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(|error| unsent(io_words(&error)))?;

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One byte at a time: what follows the head belongs to the tunnel.
        match stream.read_u8().await {
            Ok(byte) if head.len() < TUNNEL_HEAD => head.push(byte),
            Ok(_) => return Err(unsent("its answer to CONNECT is too long".to_owned())),
            Err(error) => return Err(unsent(io_words(&error))),
        }
    }
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| str::from_utf8(s).ok());
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(200..300) => Ok(stream),
        Some(407) => Err(unsent(PROXY_CREDENTIALS.to_owned())),
        Some(status) => Err(unsent(format!("it answered CONNECT with {status}"))),
        None => Err(unsent("it does not speak HTTP".to_owned())),
    }
}

/// What a 407 means, after "the proxy: ".
pub(super) const PROXY_CREDENTIALS: &str = "it wants other credentials (407); they belong into its URL";

impl Service<ConnectInfo<Uri>> for Dial {
    type Response = Connection<Uri, Wire>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        self.clone().dial(info.request().clone()).boxed_local()
    }
}

/// A TCP connection that notes the progress of the exchange it serves.
pub(super) struct Wire {
    stream: TcpStream,
    /// Whether TLS runs on top.
    secure: bool,
}

impl Wire {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl Drop for Wire {
    /// TLS can end before TCP does (`close_notify`), unseen here. But then awc drops the connection together with the
    /// response, while one that is done with goes back to the pool or into a task that closes it.
    fn drop(&mut self) {
        if self.secure {
            Progress::note(|progress| progress.ended.set(true));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let polled = self.stream().poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before && room > 0 {
            Progress::note(|progress| progress.ended.set(true));
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Any other connection that ended before was a dead one in the pool.
        Progress::note(|progress| {
            progress.written.set(true);
            progress.ended.set(false);
        });
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl ActixStream for Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
