//! The `oc-plugin` receiver: POSTs the document to a route that an OpenClaw plugin serves.

use std::{sync::Arc, time::Duration};

use futures_util::future::{FutureExt, LocalBoxFuture};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{DeliveryError, OPENCLAW_TURNS, Receipt, Receiver, ReceiverId, endpoint::Endpoint, to_json};
use crate::{clock::Clock, http::HttpClient, model::document::Document, secret::Secret};

/// POSTs `{"actor": …, …document}` with the secret as bearer token; the batch id is the `Idempotency-Key`.
pub struct OcPlugin {
    id: ReceiverId,
    endpoint: Endpoint,
    secret: Secret,
    actor: Value,
}

impl OcPlugin {
    /// A receiver at `url`, for the plugin's `actor`; `timeout` is for one whole exchange.
    #[must_use]
    pub fn new(
        id: ReceiverId,
        url: Url,
        secret: Secret,
        actor: impl Into<Value>,
        http: HttpClient,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let if_missing = "install the plugin in OpenClaw, or check the URL";
        Self { id, endpoint: Endpoint { url, http, clock, timeout, if_missing }, secret, actor: actor.into() }
    }

    async fn post(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let body = to_json(&Body { actor: &self.actor, document })?;
        let token = format!("Bearer {}", self.secret.expose());
        let id = document.envelope.batch_id.to_string();
        self.endpoint.post(body, &[("authorization", &token), ("idempotency-key", &id)]).await
    }
}

#[derive(Serialize)]
struct Body<'a> {
    actor: &'a Value,
    #[serde(flatten)]
    document: &'a Document,
}

impl Receiver for OcPlugin {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn recognised_by(&self) -> Option<&str> {
        Some(OPENCLAW_TURNS)
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.post(document).boxed_local()
    }
}

#[cfg(all(test, unix))]
mod tests;
