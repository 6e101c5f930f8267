//! One connection to the gateway, from dialling to its end: a task that owns the socket.

use std::{cell::Cell, collections::HashMap, io, rc::Rc, time::Duration};

use actix_http::ws::Item;
use awc::{
    error::WsProtocolError,
    ws::{CloseCode, CloseReason, Frame, Message},
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    pin, select,
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Dialling, Health,
    error::{GatewayError, GatewayErrorKind as Kind, Refusal},
    frames::{self, Incoming},
};
use crate::http::{UpgradeError, WebSocket};

/// The largest message that is taken, in bytes. The greeting has 17 kB, a session in a list about one.
pub(super) const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// The time to get one message out. Nothing is read meanwhile.
const WRITE: Duration = Duration::from_secs(10);

/// A call on its way to the gateway.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Value,
    /// Set when the gateway may have seen it.
    pub(super) sent: Rc<Cell<bool>>,
    /// Closed if nobody waits any more.
    pub(super) answer: oneshot::Sender<Result<Value, GatewayError>>,
}

/// Serves `calls` over one connection until that ends, and then fails what is left of them with the reason.
pub(super) async fn run(dialling: Rc<Dialling>, health: Rc<Health>, mut calls: mpsc::Receiver<Call>) {
    let mut link = Link { dialling: &dialling, waiting: HashMap::new(), last_id: 0 };
    let Err(end) = link.serve(&health, &mut calls).await;
    // First of all, so that whoever hears of the end finds it there.
    health.ended(&end);
    calls.close();
    for (_, answer) in link.waiting.drain() {
        let _ = answer.send(Err(GatewayError { sent: true, ..end.clone() }));
    }
    while let Some(call) = calls.recv().await {
        let _ = call.answer.send(Err(GatewayError { sent: false, ..end.clone() }));
    }
}

/// The state of one connection.
struct Link<'a> {
    dialling: &'a Dialling,
    /// Who waits for which answer. Entries of callers that gave up are removed when the next call is made.
    waiting: HashMap<u64, oneshot::Sender<Result<Value, GatewayError>>>,
    last_id: u64,
}

/// A connection ends one way only: by an error.
type Never = std::convert::Infallible;

impl Link<'_> {
    async fn serve(&mut self, health: &Health, calls: &mut mpsc::Receiver<Call>) -> Result<Never, GatewayError> {
        let limit = self.dialling.options.connect_timeout;
        let (socket, version) = timeout(limit, self.open()).await.unwrap_or_else(|_| {
            Err(self.dialling.error(Kind::Timeout, format!("no connection within {}s", limit.as_secs_f64())))
        })?;
        health.connected(version);
        let mut socket = socket;
        let mut parts = Parts::default();
        let (ping_after, pong_within) = (self.dialling.options.ping_after, self.dialling.options.pong_within);
        let silence = sleep(ping_after);
        pin!(silence);
        let mut pinged = false;
        loop {
            select! {
                frame = socket.next() => {
                    (pinged, _) = (false, silence.set(sleep(ping_after)));
                    let Some(text) = self.frame(frame, &mut socket, &mut parts).await? else { continue };
                    match frames::read(&text) {
                        Some(Incoming::Answer { id, outcome }) => {
                            if let Some(answer) = self.waiting.remove(&id) {
                                let _ = answer.send(outcome.map_err(|refusal| self.dialling.refused(refusal)));
                            }
                        }
                        Some(Incoming::Challenge | Incoming::Other) => {}
                        None => return Err(self.garbage("it sent what no gateway would send")),
                    }
                }
                // Never `None`: the other end lives as long as this task.
                Some(call) = calls.recv() => self.ask(call, &mut socket).await?,
                () = &mut silence => {
                    if pinged {
                        let quiet = (ping_after + pong_within).as_secs_f64();
                        return Err(self.closed(format!("the connection is dead: nothing was heard for {quiet}s")));
                    }
                    self.write(&mut socket, Message::Ping("".into())).await?;
                    (pinged, _) = (true, silence.set(sleep(pong_within)));
                }
            }
        }
    }

    /// Opens the socket and shakes hands. Gives the gateway's version as well.
    async fn open(&mut self) -> Result<(impl WebSocket + use<>, Option<String>), GatewayError> {
        let Dialling { http, options } = self.dialling;
        let socket = http.websocket(&options.url, options.connect_timeout, MAX_MESSAGE).await;
        let mut socket = socket.map_err(|error| self.not_opened(&error))?;
        let mut parts = Parts::default();
        let connect = self.next_id();
        loop {
            let frame = socket.next().await;
            let Some(text) = self.frame(frame, &mut socket, &mut parts).await.map_err(|e| self.at_handshake(e))? else {
                continue;
            };
            match frames::read(&text) {
                Some(Incoming::Challenge) => {
                    let params = frames::connect(options.token.expose());
                    let frame = frames::request(connect, "connect", &params);
                    self.write(&mut socket, Message::Text(frame.into())).await?;
                }
                Some(Incoming::Answer { id, outcome }) if id == connect => {
                    let hello = outcome.map_err(|refusal| self.dialling.turned_away(&refusal))?;
                    let version = hello.pointer("/server/version").and_then(Value::as_str).map(str::to_owned);
                    return Ok((socket, version));
                }
                Some(_) => {}
                None => return Err(self.garbage("what listens there is no OpenClaw gateway; check the URL")),
            }
        }
    }

    /// Takes what was read: the text of a whole message, or nothing that concerns callers.
    async fn frame(
        &self,
        frame: Option<Result<Frame, WsProtocolError>>,
        socket: &mut impl WebSocket,
        parts: &mut Parts,
    ) -> Result<Option<Vec<u8>>, GatewayError> {
        match frame {
            Some(Ok(Frame::Text(text))) => Ok(Some(text.to_vec())),
            Some(Ok(Frame::Continuation(item))) => parts.add(item).map_err(|what| self.garbage(what)),
            Some(Ok(Frame::Ping(payload))) => self.write(socket, Message::Pong(payload)).await.map(|()| None),
            Some(Ok(Frame::Pong(_))) => Ok(None),
            Some(Ok(Frame::Binary(_))) => Err(self.garbage("it sent a binary message")),
            Some(Ok(Frame::Close(reason))) => {
                // Only a courtesy.
                let _ = self.write(socket, Message::Close(None)).await;
                Err(self.dialling.closed_by_peer(reason.as_ref()))
            }
            Some(Err(WsProtocolError::Overflow)) => Err(self.garbage("it sent a message that is too large")),
            Some(Err(WsProtocolError::Io(error))) if error.kind() != io::ErrorKind::InvalidData => {
                Err(self.closed("the connection broke off"))
            }
            None => Err(self.closed("the connection broke off")),
            Some(Err(_)) => Err(self.garbage("it does not keep to the WebSocket protocol")),
        }
    }

    async fn ask(&mut self, call: Call, socket: &mut impl WebSocket) -> Result<(), GatewayError> {
        self.waiting.retain(|_, answer| !answer.is_closed());
        if call.answer.is_closed() {
            return Ok(());
        }
        let id = self.next_id();
        let frame = frames::request(id, &call.method, &call.params);
        call.sent.set(true);
        self.waiting.insert(id, call.answer);
        self.write(socket, Message::Text(frame.into())).await
    }

    async fn write(&self, socket: &mut impl WebSocket, message: Message) -> Result<(), GatewayError> {
        match timeout(WRITE, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed("the connection broke off")),
            Err(_) => Err(self.closed("the connection is stuck: the gateway does not read")),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn garbage(&self, what: impl Into<String>) -> GatewayError {
        self.dialling.error(Kind::Garbage, what)
    }

    fn closed(&self, what: impl Into<String>) -> GatewayError {
        self.dialling.error(Kind::Closed, what)
    }

    fn not_opened(&self, error: &UpgradeError) -> GatewayError {
        let (kind, what) = match error {
            UpgradeError::Http(error) => (Kind::Down, error.to_string()),
            UpgradeError::Status(503) => (Kind::Starting, "it is starting (503)".to_owned()),
            UpgradeError::Status(401 | 403) => {
                (Kind::Unauthorized, "it does not let us in; check the token".to_owned())
            }
            UpgradeError::Status(status) => {
                (Kind::Down, format!("what listens there is no OpenClaw gateway (it answered {status}); check the URL"))
            }
            UpgradeError::NoWebSocket => {
                (Kind::Down, "what listens there is no OpenClaw gateway; check the URL".to_owned())
            }
        };
        self.dialling.error(kind, what)
    }

    /// An end without an answer to the handshake: nothing was asked yet.
    fn at_handshake(&self, error: GatewayError) -> GatewayError {
        GatewayError { sent: false, ..error }
    }
}

impl Dialling {
    fn error(&self, kind: Kind, what: impl Into<String>) -> GatewayError {
        let message = format!("{}: {}", self.origin(), what.into());
        GatewayError { kind, message, sent: false, retry_after: None }
    }

    /// The answer to a call.
    fn refused(&self, refusal: Refusal) -> GatewayError {
        let message = format!("it answered {}{}", shown(&refusal.code), self.complaint(&refusal));
        let retry_after = refusal.retry_after;
        GatewayError { sent: true, retry_after, ..self.error(Kind::Refused(Box::new(refusal)), message) }
    }

    /// The answer to the handshake.
    fn turned_away(&self, refusal: &Refusal) -> GatewayError {
        let kind = refusal.kind_at_handshake();
        let complaint = self.complaint(refusal);
        let what = match kind {
            Kind::Unauthorized => format!("the token was refused{complaint}; check it against gateway.auth.token"),
            Kind::ProtocolMismatch => {
                format!("it speaks another version of the protocol than ours{complaint}; update the older of the two")
            }
            Kind::Starting => "it is starting".to_owned(),
            _ => format!("it did not let us in{complaint}"),
        };
        GatewayError { retry_after: refusal.retry_after, ..self.error(kind, what) }
    }

    fn closed_by_peer(&self, reason: Option<&CloseReason>) -> GatewayError {
        let code = reason.map(|reason| reason.code);
        let (kind, what) = match code {
            Some(CloseCode::Policy) if self.says(reason, "unauthorized") => {
                (Kind::Unauthorized, "the token was refused; check it against gateway.auth.token".to_owned())
            }
            Some(CloseCode::Restart | CloseCode::Again) => (Kind::Starting, "it is restarting".to_owned()),
            Some(code) => (Kind::Closed, format!("it closed the connection ({})", u16::from(code))),
            None => (Kind::Closed, "it closed the connection".to_owned()),
        };
        self.error(kind, what)
    }

    fn says(&self, reason: Option<&CloseReason>, word: &str) -> bool {
        reason.and_then(|reason| reason.description.as_deref()).is_some_and(|text| text.contains(word))
    }

    /// The gateway's own words, in brackets, fit for a line of log and without the token.
    fn complaint(&self, refusal: &Refusal) -> String {
        let token = self.options.token.expose();
        let text = if token.is_empty() { refusal.message.clone() } else { refusal.message.replace(token, "…") };
        if text.trim().is_empty() { String::new() } else { format!(" ({})", shown(text.trim())) }
    }
}

/// Text of the peer as it can be shown: short, on one line, without control characters.
fn shown(text: &str) -> String {
    const LENGTH: usize = 200;
    let mut shown: String = text.chars().take(LENGTH).flat_map(char::escape_debug).collect();
    if text.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "an error".to_owned() } else { shown }
}

/// A message that comes in parts.
#[derive(Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn add(&mut self, item: Item) -> Result<Option<Vec<u8>>, &'static str> {
        let (part, last) = match item {
            Item::FirstText(part) => (part, false),
            Item::FirstBinary(_) => return Err("it sent a binary message"),
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.0.len() + part.len() > MAX_MESSAGE {
            return Err("it sent a message that is too large");
        }
        self.0.extend_from_slice(&part);
        Ok(last.then(|| std::mem::take(&mut self.0)))
    }
}
