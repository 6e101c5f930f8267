//! Outgoing HTTP: one client for everything the actors ask or tell.

mod error;

use std::{rc::Rc, time::Duration};

use awc::{Client, Connector, http::header};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use url::Url;

pub use error::{HttpError, HttpErrorKind};

/// Sent with every request.
const USER_AGENT: &str = concat!("ograph-dispatcher/", env!("CARGO_PKG_VERSION"));

/// How a client behaves; it may be shared between threads.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// How many exchanges may run at once; more of them wait, within their timeout.
    pub max_connections: usize,
    /// How long an idle connection is kept; longer than the intervals between two polls.
    pub keep_alive: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { max_connections: 100, keep_alive: Duration::from_secs(90) }
    }
}

/// An HTTP client with its pool of connections. It belongs to one arbiter; clones are cheap and share the pool.
#[derive(Clone)]
pub struct HttpClient(Rc<Client>);

/// What is asked.
#[derive(Clone)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where.
    pub url: &'a Url,
    /// Further headers; their values may be secret.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body of a `POST`.
    pub body: Vec<u8>,
    /// The time for the whole exchange, from connecting to the last byte of the body.
    pub timeout: Duration,
    /// The largest body that is accepted, in bytes after decompression.
    pub max_body: usize,
    /// Whether redirects are followed. Only for `GET`.
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

/// What came back, whatever its status.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The entity tag.
    pub etag: Option<String>,
    /// `Retry-After` as it was sent.
    pub retry_after: Option<String>,
    /// `Content-Type` as it was sent.
    pub content_type: Option<String>,
    /// The whole body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
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

impl HttpClient {
    /// A client. Nothing is opened or loaded before the first request.
    #[must_use]
    pub fn new(options: &HttpOptions) -> Self {
        let connector = Connector::new().limit(options.max_connections).conn_keep_alive(options.keep_alive);
        let client = Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .add_default_header((header::USER_AGENT, USER_AGENT))
            .finish();
        Self(Rc::new(client))
    }

    /// Asks and waits for the whole answer.
    ///
    /// Cancel-safe: dropping the future closes the connection it uses.
    ///
    /// # Errors
    /// If there is no complete answer. Any status is an answer, also 404 and 500.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let limit = request.timeout;
        timeout(limit, self.exchange(request)).await.unwrap_or_else(|_| Err(HttpError::timeout(limit)))
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let mut call = match request.method {
            Method::Get => self.0.get(request.url.as_str()),
            Method::Post => self.0.post(request.url.as_str()),
        };
        for &(name, value) in request.headers {
            call = call.insert_header((name, value));
        }
        let mut response = call.send_body(request.body).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > request.max_body {
                return Err(HttpError::too_large(request.max_body));
            }
            body.extend_from_slice(&chunk);
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer {
            status: response.status().as_u16(),
            etag: text(header::ETAG),
            retry_after: text(header::RETRY_AFTER),
            content_type: text(header::CONTENT_TYPE),
            body,
        })
    }
}
