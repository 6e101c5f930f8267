//! The `oc-hook` receiver: starts an agent's turn, or wakes the main session, through OpenClaw's HTTP hooks.
//!
//! OpenClaw hands the message to the agent as untrusted external content.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{DeliveryError, Receipt, Receiver, ReceiverId, briefing, endpoint::Endpoint, text, to_json};
use crate::{clock::Clock, http::HttpClient, model::document::Document, openclaw::Gateway, secret::Secret};

/// What a hook does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// Runs an agent on it.
    Agent {
        /// Which agent; `None` for the default one.
        agent_id: Option<String>,
        /// In which session. OpenClaw refuses it unless `hooks.allowRequestSessionKey` is set.
        session_key: Option<String>,
        /// Whether the agent's answer is sent on.
        deliver: Option<bool>,
        /// Through which channel.
        channel: Option<String>,
        /// To whom.
        to: Option<String>,
    },
    /// Wakes a session now, with a short text. OpenClaw does not recognise a repeated one.
    Wake {
        /// Whose; `None` for the default agent's.
        agent_id: Option<String>,
    },
}

impl HookAction {
    /// The hook's own URL, on the OpenClaw at `base`.
    #[must_use]
    pub fn url(&self, base: &Url) -> Url {
        let hook = match self {
            Self::Agent { .. } => "agent",
            Self::Wake { .. } => "wake",
        };
        let mut url = base.clone();
        url.set_path(&format!("{}/hooks/{hook}", base.path().trim_end_matches('/')));
        url
    }
}

/// Tells an agent through a hook; the batch id is the `Idempotency-Key`.
pub struct OcHook {
    id: ReceiverId,
    endpoint: Endpoint,
    token: Secret,
    action: HookAction,
    file: Option<PathBuf>,
    template: Option<String>,
    /// Where a push of ours is counted as a taken slot.
    gateway: Option<Gateway>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
}

impl OcHook {
    /// A receiver on the OpenClaw at `base` (`http://127.0.0.1:18789`), whose hooks are in `/hooks`.
    ///
    /// `file` is the path of the dispatch file, for the text; `template` replaces the usual text. OpenClaw answers only
    /// when it has admitted the run: `timeout` is for that, and should be above the 15 s that it may take.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "one more than the other receivers over HTTP; no two are alike")]
    pub fn new(
        id: ReceiverId,
        base: &Url,
        token: Secret,
        action: HookAction,
        file: Option<PathBuf>,
        template: Option<String>,
        http: HttpClient,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let url = action.url(base);
        let endpoint =
            Endpoint { url, http, clock, timeout, if_missing: "check hooks.enabled in openclaw.json and the URL" };
        Self { id, endpoint, token, action, file, template, gateway: None }
    }

    /// Counts every push as a taken slot of this gateway until it shows up there.
    #[must_use]
    pub fn reserving_at(self, gateway: Gateway) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    fn body(&self, document: &Document) -> Body<'_> {
        let (file, template) = (self.file.as_deref(), self.template.as_deref());
        match &self.action {
            HookAction::Agent { agent_id, session_key, deliver, channel, to } => Body {
                message: Some(briefing::brief(document, file, template)),
                name: Some("OGraph"),
                agent_id: agent_id.as_deref(),
                session_key: session_key.as_deref(),
                // By itself OpenClaw would send the agent's answer to whoever wrote last.
                deliver: Some(deliver.unwrap_or(false)),
                channel: channel.as_deref(),
                to: to.as_deref(),
                ..Body::default()
            },
            HookAction::Wake { agent_id } => Body {
                text: Some(match template {
                    Some(template) => briefing::brief(document, file, Some(template)),
                    None => text::announce(document, file, None),
                }),
                mode: Some("now"),
                agent_id: agent_id.as_deref(),
                ..Body::default()
            },
        }
    }

    async fn post(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let body = to_json(&self.body(document))?;
        let authorization = format!("Bearer {}", self.token.expose());
        let batch = document.envelope.batch_id.to_string();
        let headers = [("authorization", authorization.as_str()), ("idempotency-key", &batch)];
        let (Receipt { detail }, answer) = self.endpoint.exchange(body, &headers).await?;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // OpenClaw answers paths that it does not know with its web page.
        if answer["ok"] != true {
            let what = format!("{detail}, but not as OpenClaw's hooks answer: check the URL and hooks.enabled");
            return Err(DeliveryError::permanent(self.endpoint.says(what)));
        }
        if let Some(gateway) = &self.gateway {
            gateway.reserve(None);
        }
        let word = |name: &str| answer.get(name).and_then(Value::as_str).map(|word| text::data(word, 80));
        let run = word("runId").map(|run| format!(", run {run}"));
        let event = word("eventOutcome").map(|outcome| format!(", {outcome}"));
        Ok(Receipt { detail: detail + &run.or(event).unwrap_or_default() })
    }
}

impl Receiver for OcHook {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.post(document).boxed_local()
    }
}

#[cfg(all(test, unix))]
mod tests;
