//! Outgoing HTTP: one client for everything the actors ask or tell.
//!
//! # Guarantees
//! - An exchange ends within its timeout, connecting and body included, and holds no more than its size limit.
//! - A body that broke off, is not what it claims to be or is too large is an error, never an answer.
//! - The headers of a request reach nobody but the origin it was made for, wherever redirects lead.
//! - Errors say what happened in words and contain no URL, header or body.

mod answer;
mod body;
mod connect;
mod error;
mod proxy;
mod tls;
mod websocket;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, rc::Rc, time::Duration};

use awc::{
    Client, Connector, SendClientRequest,
    http::{
        Uri,
        header::{self, HeaderName, HeaderValue},
    },
};
use tokio::{sync::OnceCell, time::timeout};
use url::{Position, Url};

pub(crate) use self::websocket::{UpgradeError, WebSocket};
pub use self::{
    answer::Answer,
    error::{HttpError, HttpErrorKind},
    proxy::{InvalidProxy, ProxyRules},
    tls::Roots,
};

use self::{
    answer::read,
    body::ACCEPT_ENCODING,
    connect::{Dial, PROGRESS, PROXY_CREDENTIALS, Progress},
    proxy::Proxy,
};
use crate::secret::Secret;

/// Sent with every request.
const USER_AGENT: &str = concat!("ograph-dispatcher/", env!("CARGO_PKG_VERSION"));

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// How old a connection may become; a new one notices when a name leads elsewhere.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What another origin may see of the caller's headers after a redirect; none of these is ever secret.
const HARMLESS: [&str; 2] = ["accept", "if-none-match"];

/// How a client behaves. Clones can be sent to other threads; they share the loaded [`Roots`].
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The proxies to take.
    pub proxy: ProxyRules,
    /// Whose certificates are trusted.
    pub roots: Roots,
    /// How many exchanges may run at once; more of them wait, within their timeout.
    pub max_connections: usize,
    /// How long an idle connection is kept; longer than the intervals between two polls.
    pub keep_alive: Duration,
    /// The time to connect, within that of the whole exchange; the TLS handshake has as much again.
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            proxy: ProxyRules::default(),
            roots: Roots::default(),
            max_connections: 100,
            keep_alive: Duration::from_secs(90),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// An HTTP client with its pool of connections. It belongs to one arbiter; clones are cheap and share the pool.
#[derive(Clone)]
pub struct HttpClient(Rc<Inner>);

struct Inner {
    options: HttpOptions,
    proxy: Rc<ProxyRules>,
    plain: Transport,
    /// Made at the first https request, because it needs the roots.
    secure: OnceCell<Transport>,
}

/// The awc clients for one scheme.
struct Transport {
    pooled: Client,
    /// Opens a connection for every request. It stands in when a pooled connection turns out to be dead.
    fresh: Client,
}

/// What is asked.
#[derive(Clone)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where. User and password in it become an `Authorization` header, unless [`headers`](Self::headers) has one.
    pub url: &'a Url,
    /// Further headers; their values may be secret.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body of a `POST`.
    pub body: Vec<u8>,
    /// The time for the whole exchange, from connecting to the last byte of the body, redirects included.
    pub timeout: Duration,
    /// The largest body that is accepted, in bytes after decompression.
    pub max_body: usize,
    /// Whether a `GET` follows redirects. A `POST` never does: its redirect is the answer.
    pub redirects: bool,
}

/// The methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads; may be repeated.
    Get,
    /// Tells; never repeated by the client itself.
    Post,
}

impl<'a> Request<'a> {
    /// A `GET` that follows redirects, within 10 s and 1 MiB.
    #[must_use]
    pub fn get(url: &'a Url) -> Self {
        Self {
            method: Method::Get,
            url,
            headers: &[],
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            max_body: 1024 * 1024,
            redirects: true,
        }
    }

    /// A `POST` of `body`, within 10 s and 1 MiB.
    #[must_use]
    pub fn post(url: &'a Url, body: Vec<u8>) -> Self {
        Self { method: Method::Post, body, redirects: false, ..Self::get(url) }
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new(&HttpOptions::default())
    }
}

impl HttpClient {
    /// A client. Nothing is opened or loaded before the first request.
    #[must_use]
    pub fn new(options: &HttpOptions) -> Self {
        let proxy = Rc::new(options.proxy.clone());
        let plain = Transport::new(options, &proxy, None);
        Self(Rc::new(Inner { options: options.clone(), proxy, plain, secure: OnceCell::new() }))
    }

    /// Asks and waits for the whole answer. Any status is an answer, also 404 and 500.
    ///
    /// Cancel-safe: dropping the future closes the connection it uses.
    ///
    /// # Errors
    /// If there is no complete answer, or following redirects led nowhere.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let limit = request.timeout;
        let progress = Rc::new(Progress::default());
        let follow = PROGRESS.scope(progress.clone(), self.follow(request, &progress));
        let outcome = match timeout(limit, follow).await {
            Ok(outcome) => outcome,
            Err(_) if progress.dialling() => Err(HttpError::unconnected(limit)),
            Err(_) => Err(HttpError::timeout(limit)),
        };
        outcome.map_err(|error| HttpError { sent: error.sent && progress.maybe_sent(), ..error })
    }

    /// Asks, and again wherever a redirect leads.
    async fn follow(&self, mut request: Request<'_>, progress: &Progress) -> Result<Answer, HttpError> {
        let body = std::mem::take(&mut request.body);
        let mut call = Call { url: Cow::Borrowed(request.url), at_home: true, request: &request };
        if request.method == Method::Post {
            return self.exchange(&call, body, progress).await;
        }
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.exchange(&call, Vec::new(), progress).await?;
            if !(request.redirects && answer.is_redirect()) {
                return Ok(answer);
            }
            call = call.redirected(answer.location.as_deref())?;
        }
        Err(HttpError::new(HttpErrorKind::Redirect, format!("more than {MAX_REDIRECTS} redirects in a row")))
    }

    /// One request and its answer. A `GET` that only met a dead connection in the pool is repeated on a new one.
    async fn exchange(&self, call: &Call<'_>, body: Vec<u8>, progress: &Progress) -> Result<Answer, HttpError> {
        let transport = self.transport(&call.url).await?;
        let proxy = self.proxy_of(&call.url);
        progress.restart();
        let mut outcome = call.prepare(&transport.pooled, proxy, body)?.await;
        if outcome.is_err() && progress.reused() && call.request.method == Method::Get {
            progress.restart();
            outcome = call.prepare(&transport.fresh, proxy, Vec::new())?.await;
        }
        let answer = read(outcome?, call.request.max_body, progress).await?;
        if proxy.is_some() && answer.status == 407 {
            return Err(HttpError::unsent(HttpErrorKind::Connect, format!("the proxy: {PROXY_CREDENTIALS}")));
        }
        Ok(answer)
    }

    /// The proxy that is asked in plain http; https goes through a tunnel, below awc.
    fn proxy_of(&self, url: &Url) -> Option<&Proxy> {
        let plain = url.scheme() == "http";
        let port = url.port_or_known_default()?;
        url.host_str().filter(|_| plain).and_then(|host| self.0.proxy.find("http", host, port))
    }

    async fn transport(&self, url: &Url) -> Result<&Transport, HttpError> {
        let Inner { options, proxy, plain, secure } = &*self.0;
        match url.scheme() {
            "http" => Ok(plain),
            "https" => {
                let make = async || Ok(Transport::new(options, proxy, Some(options.roots.config().await?)));
                secure.get_or_try_init(make).await
            }
            _ => Err(HttpError::unsent(HttpErrorKind::Invalid, "only http and https can be asked")),
        }
    }
}

impl Transport {
    fn new(options: &HttpOptions, proxy: &Rc<ProxyRules>, tls: Option<rustls::ClientConfig>) -> Self {
        let tls = tls.map(std::sync::Arc::new);
        let client = |keep_alive| {
            let mut connector = Connector::new()
                .connector(Dial::new(proxy.clone(), options.connect_timeout))
                .limit(options.max_connections)
                .conn_keep_alive(keep_alive)
                .conn_lifetime(CONNECTION_LIFETIME)
                // Dial has its own, with better words.
                .timeout(options.connect_timeout * 2)
                .handshake_timeout(options.connect_timeout);
            if let Some(tls) = &tls {
                connector = connector.rustls_0_23(tls.clone());
            }
            Client::builder()
                .connector(connector)
                .disable_timeout()
                .disable_redirects()
                .add_default_header((header::USER_AGENT, USER_AGENT))
                .finish()
        };
        Self { pooled: client(options.keep_alive), fresh: client(Duration::ZERO) }
    }
}

/// A request on its way, perhaps redirected.
struct Call<'a> {
    request: &'a Request<'a>,
    url: Cow<'a, Url>,
    /// Still at the origin that the caller named, and never been elsewhere.
    at_home: bool,
}

impl<'a> Call<'a> {
    /// The call after a redirect to `location`.
    fn redirected(self, location: Option<&str>) -> Result<Self, HttpError> {
        let nowhere = |message: &str| HttpError::new(HttpErrorKind::Redirect, message);
        let location = location.ok_or_else(|| nowhere("redirected without saying where to"))?;
        let url = self.url.join(location).map_err(|_| nowhere("redirected to something that is no URL"))?;
        match (self.url.scheme(), url.scheme()) {
            ("http", "http" | "https") | ("https", "https") => {}
            ("https", "http") => return Err(nowhere("redirected from https to http, which is not followed")),
            _ => return Err(nowhere("redirected to a URL that is neither http nor https")),
        }
        let at_home = self.at_home && url.origin() == self.url.origin();
        Ok(Self { request: self.request, url: Cow::Owned(url), at_home })
    }

    /// The request as awc sends it, to the origin or to `proxy`.
    fn prepare(&self, client: &Client, proxy: Option<&Proxy>, body: Vec<u8>) -> Result<SendClientRequest, HttpError> {
        let invalid = |message: &str| HttpError::unsent(HttpErrorKind::Invalid, message);
        let url = &*self.url;
        // Without user, password and fragment.
        let target = format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterQuery]);
        let uri = match proxy {
            None => target.parse().ok(),
            // The absolute form: the proxy reads the whole target from the request line.
            Some(proxy) => {
                Uri::builder().scheme("http").authority(proxy.authority()).path_and_query(target).build().ok()
            }
        };
        let method = match self.request.method {
            Method::Get => awc::http::Method::GET,
            Method::Post => awc::http::Method::POST,
        };
        let mut request = client
            .request(method, uri.ok_or_else(|| invalid("not a URL that can be asked for"))?)
            .no_decompress()
            .insert_header((header::ACCEPT_ENCODING, ACCEPT_ENCODING));
        if let Some(proxy) = proxy {
            request = request.insert_header((header::HOST, &url[Position::BeforeHost..Position::AfterPort]));
            if let Some(authorization) = &proxy.authorization {
                request = request.insert_header((header::PROXY_AUTHORIZATION, secret(authorization.expose())?));
            }
        }
        if let Some(authorization) = self.credentials() {
            request = request.insert_header((header::AUTHORIZATION, secret(authorization.expose())?));
        }
        for (name, value) in self.headers() {
            let name = HeaderName::try_from(name).map_err(|_| invalid("not a header's name"))?;
            request = request.insert_header((name, secret(value)?));
        }
        Ok(match self.request.method {
            // Not `send()`, which announces a body of no bytes.
            Method::Get => request.send_body(awc::body::None::new()),
            Method::Post => request.send_body(body),
        })
    }

    fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let at_home = self.at_home;
        let harmless = |name: &str| HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless));
        self.request.headers.iter().copied().filter(move |(name, _)| at_home || harmless(name))
    }

    /// `Authorization` from the URL that the caller named.
    fn credentials(&self) -> Option<Secret> {
        proxy::basic(self.request.url).filter(|_| self.at_home)
    }
}

/// A header's value that libraries do not print either.
fn secret(value: &str) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| HttpError::unsent(HttpErrorKind::Invalid, "a header's value contains a line break or the like"))?;
    value.set_sensitive(true);
    Ok(value)
}
