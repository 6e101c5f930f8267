//! The `oc-gateway` receiver: starts an agent's turn, or sends a message, through OpenClaw's gateway.
//!
//! The batch id is the idempotency key: OpenClaw answers a repeated call with what came of the first one, for as long as
//! it runs. (It keeps that in memory: a call repeated after a restart of OpenClaw is a new one to it.)

use std::{path::PathBuf, time::Duration};

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use serde_json::{Value, json};

use super::{
    DeliveryError, DeliveryErrorKind, OPENCLAW_MESSAGES, OPENCLAW_TURNS, Reached, Receipt, Receiver, ReceiverId,
    briefing, text,
};
use crate::{
    model::document::Document,
    openclaw::{Gateway, GatewayError, GatewayErrorKind},
};

/// `details.code` of an error that says: not sent yet, but kept, and sent later.
const QUEUED: &str = "OUTBOUND_DELIVERY_QUEUED";

/// How much earlier than we OpenClaw is to give up waiting for the end of a turn.
const MARGIN: Duration = Duration::from_millis(500);

/// What the gateway does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayAction {
    /// Runs an agent on it.
    Agent {
        /// In which session; `None` for one of its own for every batch.
        session_key: Option<String>,
        /// Waits for the end of the turn, within the receiver's timeout, and notes what came of it. The batch is
        /// delivered all the same.
        wait: bool,
    },
    /// Sends it to a person or group.
    Send {
        /// Through which channel; may be `None` where only one is configured.
        channel: Option<String>,
        /// To whom.
        to: String,
    },
}

/// Tells an agent, or a chat, through the gateway.
pub struct OcGateway {
    id: ReceiverId,
    gateway: Gateway,
    action: GatewayAction,
    file: Option<PathBuf>,
    template: Option<String>,
    timeout: Duration,
}

impl OcGateway {
    /// A receiver on this gateway.
    ///
    /// `file` is the path of the dispatch file, for the text; `template` replaces the usual text: for an agent what
    /// changed with all values as fenced data, for a chat one line. `timeout` is for one delivery.
    #[must_use]
    pub fn new(
        id: ReceiverId,
        gateway: Gateway,
        action: GatewayAction,
        file: Option<PathBuf>,
        template: Option<String>,
        timeout: Duration,
    ) -> Self {
        Self { id, gateway, action, file, template, timeout }
    }

    async fn tell(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        match &self.action {
            GatewayAction::Agent { session_key, wait } => self.run_agent(document, session_key.as_deref(), *wait).await,
            GatewayAction::Send { channel, to } => self.send(document, channel.as_deref(), to).await,
        }
    }

    async fn run_agent(
        &self,
        document: &Document,
        session: Option<&str>,
        wait: bool,
    ) -> Result<Receipt, DeliveryError> {
        let begin = self.gateway.now();
        let batch = document.envelope.batch_id.to_string();
        let mut params = json!({
            "message": briefing::brief(document, self.file.as_deref(), self.template.as_deref()),
            "idempotencyKey": batch,
            "deliver": false,
        });
        if let Some(session) = session {
            params["sessionKey"] = session.into();
        }
        let answer = match self.gateway.call("agent", params, self.timeout).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.sent && !matches!(error.kind, GatewayErrorKind::Refused(_)) {
                    self.gateway.reserve(session);
                }
                return self.ended_before(&batch, error, begin).await;
            }
        };
        let word = |name: &str| answer.get(name).and_then(Value::as_str).map(|word| text::data(word, 80));
        let status = word("status").unwrap_or_else(|| "no status".to_owned());
        if status == "accepted" || status == "in_flight" {
            // The gateway's own name for the session is the one that it lists.
            self.gateway.reserve(answer.get("sessionKey").and_then(Value::as_str).or(session));
        }
        let mut detail = format!("{status}, run {}", word("runId").unwrap_or_else(|| batch.clone()));
        if wait {
            let run = answer.get("runId").and_then(Value::as_str).unwrap_or(&batch);
            detail.push_str(&self.outcome(run, begin).await);
        }
        Ok(Receipt { detail })
    }

    /// An agent whose turn failed answers a repeated call with that failure. It had the message: a look at the run tells
    /// this apart from a gateway that could not take the call.
    async fn ended_before(&self, batch: &str, error: GatewayError, begin: Duration) -> Result<Receipt, DeliveryError> {
        let GatewayErrorKind::Refused(refusal) = &error.kind else { return Err(judge(error)) };
        if !refusal.is_unavailable() {
            return Err(judge(error));
        }
        let params = json!({"runId": batch, "timeoutMs": 0});
        match self.gateway.call("agent.wait", params, self.left(begin)).await {
            Ok(run) if run["status"] == "ok" || run["status"] == "error" => {
                Ok(Receipt { detail: format!("delivered before, run {batch}{}", ended(&run)) })
            }
            _ => Err(judge(error)),
        }
    }

    /// Waits for the end of a run, as long as there is time.
    async fn outcome(&self, run: &str, begin: Duration) -> String {
        let left = self.left(begin);
        let patience = u64::try_from(left.saturating_sub(MARGIN).as_millis()).unwrap_or(u64::MAX);
        let params = json!({"runId": run, "timeoutMs": patience});
        match self.gateway.call("agent.wait", params, left).await {
            Ok(run) => ended(&run),
            Err(_) => "; its end is not known".to_owned(),
        }
    }

    fn left(&self, begin: Duration) -> Duration {
        (begin + self.timeout).saturating_sub(self.gateway.now())
    }

    async fn send(&self, document: &Document, channel: Option<&str>, to: &str) -> Result<Receipt, DeliveryError> {
        let batch = document.envelope.batch_id.to_string();
        let (file, template) = (self.file.as_deref(), self.template.as_deref());
        let message = match template {
            Some(template) => briefing::brief(document, file, Some(template)),
            None => text::announce(document, file, None),
        };
        let mut params = json!({ "to": to, "message": message, "idempotencyKey": batch });
        if let Some(channel) = channel {
            params["channel"] = channel.into();
        }
        match self.gateway.call("send", params, self.timeout).await {
            Ok(answer) => {
                let id = answer.get("messageId").and_then(Value::as_str).map(|id| text::data(id, 80));
                Ok(Receipt { detail: id.map_or_else(|| "sent".to_owned(), |id| format!("sent, message {id}")) })
            }
            Err(GatewayError { kind: GatewayErrorKind::Refused(refusal), .. })
                if refusal.detail.as_deref() == Some(QUEUED) =>
            {
                Ok(Receipt { detail: "queued by OpenClaw, which sends it later".to_owned() })
            }
            Err(error) => Err(judge(error)),
        }
    }
}

/// What `agent.wait` says about a run.
fn ended(run: &Value) -> String {
    let error = run.get("error").and_then(Value::as_str).map(|error| format!(" ({})", text::data(error, 200)));
    match run.get("status").and_then(Value::as_str) {
        Some("ok") => "; its turn ended well".to_owned(),
        Some("error") => format!("; its turn failed{}", error.unwrap_or_default()),
        Some("timeout") => "; its turn goes on".to_owned(),
        _ => "; its end is not known".to_owned(),
    }
}

/// | The gateway | Tried again | May have arrived |
/// |---|---|---|
/// | is down, starting, not connected in time | after the backoff | no |
/// | did not answer, ended the connection | after the backoff | perhaps |
/// | answers `UNAVAILABLE`, or that a retry is of use | after its wish or the backoff | perhaps |
/// | answers any other error, or that a retry is of none | no | perhaps, if it is `UNAVAILABLE` |
/// | refuses the token or the protocol | no | no |
fn judge(error: GatewayError) -> DeliveryError {
    let GatewayError { kind, message, sent, retry_after } = error;
    let retry = DeliveryErrorKind::Retry { after: retry_after };
    let maybe = if sent { Reached::Maybe } else { Reached::No };
    let (kind, reached) = match &kind {
        GatewayErrorKind::Unauthorized | GatewayErrorKind::ProtocolMismatch => {
            (DeliveryErrorKind::Permanent, Reached::No)
        }
        GatewayErrorKind::Refused(refusal) => {
            let kind = if refusal.retryable.unwrap_or(refusal.is_unavailable()) {
                retry
            } else {
                DeliveryErrorKind::Permanent
            };
            (kind, if refusal.is_unavailable() { maybe } else { Reached::No })
        }
        GatewayErrorKind::Starting
        | GatewayErrorKind::Down
        | GatewayErrorKind::Closed
        | GatewayErrorKind::Timeout
        | GatewayErrorKind::Garbage => (retry, maybe),
    };
    DeliveryError { kind, reached, message }
}

impl Receiver for OcGateway {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn recognised_by(&self) -> Option<&str> {
        Some(match self.action {
            GatewayAction::Agent { .. } => OPENCLAW_TURNS,
            GatewayAction::Send { .. } => OPENCLAW_MESSAGES,
        })
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.tell(document).boxed_local()
    }
}

#[cfg(all(test, unix))]
mod tests;
