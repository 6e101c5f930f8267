//! The client of OpenClaw's gateway: calls over one WebSocket, on an unmodified OpenClaw.
//!
//! # Guarantees
//! - One connection for all who ask the same gateway on the same thread; it is opened by the first call and kept.
//! - A call ends within its timeout, and concurrent calls do not wait for each other.
//! - A dead peer is found within [`GatewayOptions::ping_after`] plus [`GatewayOptions::pong_within`].
//! - After a failure nobody dials again before a backoff has passed: calls fail at once with what is known. A refused
//!   token or a wrong protocol is tried only once a minute, because OpenClaw locks out whoever guesses.
//! - Nothing is left behind: the connection ends with the last clone of its client.

mod error;
mod frames;
mod link;

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use url::Url;

pub use self::error::{GatewayError, GatewayErrorKind, Refusal};

use self::link::Call;
use super::capacity::Reservations;
use crate::{
    clock::Clock,
    http::HttpClient,
    model::backoff::{Backoff, Streak},
    secret::Secret,
};

/// How many calls may wait to be written.
const QUEUE: usize = 32;

/// The delay after the first failure, and the longest one.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A connection that held so long makes up for failures before.
const HEALTHY: Duration = Duration::from_secs(60);

/// The delay where another try is of no use until somebody changes something.
const HOPELESS: Duration = Duration::from_secs(60);

/// Where the gateway is, and how patient we are with it.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// `ws`, `wss`, `http` or `https`.
    pub url: Url,
    /// `gateway.auth.token` of OpenClaw.
    pub token: Secret,
    /// The time from dialling to the end of the handshake. (OpenClaw hangs for seconds while it starts.)
    pub connect_timeout: Duration,
    /// A connection on which nothing was heard for so long is pinged…
    pub ping_after: Duration,
    /// …and given up when nothing is heard for so long after that.
    pub pong_within: Duration,
}

impl GatewayOptions {
    /// 10 s to connect; a dead peer is found within 30 s.
    #[must_use]
    pub fn new(url: Url, token: Secret) -> Self {
        Self {
            url,
            token,
            connect_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(20),
            pong_within: Duration::from_secs(10),
        }
    }
}

/// Talks to one gateway. It belongs to one arbiter; clones are cheap and share the connection.
#[derive(Clone)]
pub struct Gateway(Rc<Inner>);

struct Inner {
    dialling: Rc<Dialling>,
    health: Rc<Health>,
    /// The connection in use, or the last one.
    link: RefCell<Option<Link>>,
    reservations: RefCell<Reservations>,
}

/// Whom to dial.
struct Dialling {
    http: HttpClient,
    options: GatewayOptions,
}

impl Dialling {
    fn origin(&self) -> String {
        self.options.url.origin().ascii_serialization()
    }
}

/// What is known from the connections so far.
struct Health {
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    streak: Cell<Streak>,
    /// Why there is no connection, and how long none is tried.
    down: RefCell<Option<(GatewayError, Duration)>>,
    version: RefCell<Option<String>>,
}

/// The near end of a connection.
struct Link {
    calls: mpsc::Sender<Call>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

thread_local! {
    /// The gateways in use on this thread.
    static IN_USE: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

impl Gateway {
    /// A client with a connection of its own. Nothing is opened before the first call.
    #[must_use]
    pub fn new(http: HttpClient, clock: Arc<dyn Clock>, options: GatewayOptions) -> Self {
        let health = Rc::new(Health {
            clock,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1, 0.2).expect("the base is above zero and below the maximum"),
            streak: Cell::new(Streak::new(HEALTHY)),
            down: RefCell::new(None),
            version: RefCell::new(None),
        });
        Self(Rc::new(Inner {
            dialling: Rc::new(Dialling { http, options }),
            health,
            link: RefCell::new(None),
            reservations: RefCell::new(Reservations::default()),
        }))
    }

    /// The client that all users of this URL and token share on this thread; as long as there is one, it keeps the
    /// options that it was made with.
    #[must_use]
    pub fn shared(http: HttpClient, clock: Arc<dyn Clock>, options: GatewayOptions) -> Self {
        IN_USE.with_borrow_mut(|in_use| {
            in_use.retain(|gateway| gateway.strong_count() > 0);
            let same = |gateway: &Rc<Inner>| {
                let known = &gateway.dialling.options;
                known.url == options.url && known.token == options.token
            };
            if let Some(known) = in_use.iter().filter_map(Weak::upgrade).find(same) {
                return Self(known);
            }
            let gateway = Self::new(http, clock, options);
            in_use.push(Rc::downgrade(&gateway.0));
            gateway
        })
    }

    /// Calls `method` and waits for its result, `limit` at most, connecting included.
    ///
    /// Cancel-safe: a call that was not written yet is never made; the answer to one that was is dropped.
    ///
    /// # Errors
    /// If there is no connection, or no answer, or the answer is an error.
    pub async fn call(&self, method: &str, params: Value, limit: Duration) -> Result<Value, GatewayError> {
        let sent = Rc::new(Cell::new(false));
        let (answer, outcome) = oneshot::channel();
        let call = Call { method: method.to_owned(), params, sent: Rc::clone(&sent), answer };
        let ask = async {
            let gone = || self.error(GatewayErrorKind::Closed, "the connection ended", sent.get());
            self.link()?.send(call).await.map_err(|_| gone())?;
            outcome.await.unwrap_or_else(|_| Err(gone()))
        };
        timeout(limit, ask).await.unwrap_or_else(|_| {
            let what = if sent.get() { "answer" } else { "connection" };
            let what = format!("no {what} within {}s", limit.as_secs_f64());
            Err(self.error(GatewayErrorKind::Timeout, &what, sent.get()))
        })
    }

    /// The version of the OpenClaw that was last connected to.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.0.health.version.borrow().clone()
    }

    /// The gateway's scheme, host and port, for messages.
    pub(crate) fn origin(&self) -> String {
        self.0.dialling.origin()
    }

    /// Monotonic time.
    pub(crate) fn now(&self) -> Duration {
        self.0.health.clock.now().mono
    }

    /// A push of ours is about to take a slot, perhaps in this session.
    pub(crate) fn reserve(&self, session: Option<&str>) {
        self.0.reservations.borrow_mut().reserve(session, self.now());
    }

    pub(super) fn reservations(&self) -> &RefCell<Reservations> {
        &self.0.reservations
    }

    /// The way into the connection, which is opened if there is none and the backoff has passed.
    fn link(&self) -> Result<mpsc::Sender<Call>, GatewayError> {
        let Inner { dialling, health, link, .. } = &*self.0;
        let mut link = link.borrow_mut();
        if let Some(link) = link.as_ref().filter(|link| !link.calls.is_closed()) {
            return Ok(link.calls.clone());
        }
        health.may_dial()?;
        let (calls, receiver) = mpsc::channel(QUEUE);
        #[expect(clippy::disallowed_methods, reason = "the link owns the task and ends it when it is dropped")]
        let task = actix_rt::spawn(link::run(Rc::clone(dialling), Rc::clone(health), receiver));
        *link = Some(Link { calls: calls.clone(), task });
        Ok(calls)
    }

    fn error(&self, kind: GatewayErrorKind, what: &str, sent: bool) -> GatewayError {
        GatewayError { kind, message: format!("{}: {what}", self.origin()), sent, retry_after: None }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gateway").field(&self.origin()).finish()
    }
}

impl Health {
    /// Says why not, while it is too early for another try.
    fn may_dial(&self) -> Result<(), GatewayError> {
        match &*self.down.borrow() {
            Some((error, until)) => match until.saturating_sub(self.clock.now().mono) {
                Duration::ZERO => Ok(()),
                left => Err(GatewayError { sent: false, retry_after: Some(left), ..error.clone() }),
            },
            None => Ok(()),
        }
    }

    fn connected(&self, version: Option<String>) {
        self.update(Streak::succeeded);
        *self.down.borrow_mut() = None;
        *self.version.borrow_mut() = version;
    }

    fn ended(&self, error: &GatewayError) {
        use GatewayErrorKind::{ProtocolMismatch, Unauthorized};
        let failures = self.update(Streak::failed);
        let delay = match error.kind {
            Unauthorized | ProtocolMismatch => HOPELESS,
            _ => self.backoff.delay(failures, fastrand::f64()).max(error.retry_after.unwrap_or_default().min(HOPELESS)),
        };
        log::debug!("no connection to the gateway, the next one in {delay:?}: {error}");
        *self.down.borrow_mut() = Some((error.clone(), self.clock.now().mono + delay));
    }

    fn update<T>(&self, change: impl FnOnce(&mut Streak, Duration) -> T) -> T {
        let mut streak = self.streak.get();
        let result = change(&mut streak, self.clock.now().mono);
        self.streak.set(streak);
        result
    }
}

#[cfg(test)]
mod tests;
