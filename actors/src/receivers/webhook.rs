//! The `webhook` receiver: POSTs the document, signed by the Standard Webhooks convention.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use futures_util::future::{FutureExt, LocalBoxFuture};
use ring::hmac;
use url::Url;

use super::{DeliveryError, Receipt, Receiver, ReceiverId, endpoint::Endpoint, to_json};
use crate::{clock::Clock, http::HttpClient, model::document::Document};

/// POSTs the document to a URL, with `webhook-id` (the batch id), `webhook-timestamp` (the time of this attempt) and,
/// if there is a secret, `webhook-signature`.
///
/// See <https://www.standardwebhooks.com>; its libraries verify what this sends.
pub struct Webhook {
    id: ReceiverId,
    endpoint: Endpoint,
    secret: Option<WebhookSecret>,
}

impl Webhook {
    /// A receiver at `url`; `timeout` is for one whole exchange.
    #[must_use]
    pub fn new(
        id: ReceiverId,
        url: Url,
        secret: Option<WebhookSecret>,
        http: HttpClient,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        Self { id, endpoint: Endpoint { url, http, clock, timeout, if_missing: "check the URL" }, secret }
    }

    async fn post(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let body = to_json(document)?;
        let id = document.envelope.batch_id.to_string();
        let timestamp = self.endpoint.clock.now().wall.as_millis().div_euclid(1000).to_string();
        let signature = self.secret.as_ref().map(|secret| secret.sign(&id, &timestamp, &body));
        let mut headers = vec![("webhook-id", id.as_str()), ("webhook-timestamp", &timestamp)];
        headers.extend(signature.as_deref().map(|signature| ("webhook-signature", signature)));
        self.endpoint.post(body, &headers).await
    }
}

impl Receiver for Webhook {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.post(document).boxed_local()
    }
}

/// The key that a webhook is signed with; never printed.
///
/// Read as the convention's libraries read it: base64, with or without `whsec_` before it and padding after it. A secret
/// that is no base64 is refused and not taken literally, because no library would verify such a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// A text that is no webhook secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhookSecret {
    /// Not base64.
    #[error("not a webhook secret: `whsec_` and base64 is expected, as in whsec_$(openssl rand -base64 32)")]
    NotBase64,
    /// Too short to be one, or too long.
    #[error(
        "not a webhook secret: it decodes to {0} bytes where {min} to {max} are expected; \
         make one with whsec_$(openssl rand -base64 32)",
        min = WebhookSecret::MIN,
        max = WebhookSecret::MAX
    )]
    Length(usize),
}

impl WebhookSecret {
    /// The convention asks for 24, but its own published example has 18.
    const MIN: usize = 16;
    const MAX: usize = 64;

    /// The value of `webhook-signature`.
    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl FromStr for WebhookSecret {
    type Err = InvalidWebhookSecret;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PADDED_OR_NOT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let text = text.trim();
        let base64 = text.strip_prefix("whsec_").unwrap_or(text);
        let key = GeneralPurpose::new(&ALPHABET, PADDED_OR_NOT).decode(base64);
        let key = key.map_err(|_| InvalidWebhookSecret::NotBase64)?;
        if (Self::MIN..=Self::MAX).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(InvalidWebhookSecret::Length(key.len()))
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(all(test, unix))]
mod tests;
