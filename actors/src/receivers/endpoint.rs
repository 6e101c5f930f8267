//! Where an HTTP receiver listens, and what its answers mean for a delivery.

use std::{fmt::Display, sync::Arc, time::Duration};

use awc::http::StatusCode;
use url::Url;

use super::{DeliveryError, DeliveryErrorKind, Reached, Receipt};
use crate::{
    clock::Clock,
    http::{Answer, HttpClient, HttpError, HttpErrorKind, Request},
    model::retry_after,
};

/// One URL that takes documents by `POST`.
///
/// Redirects are not followed: they would carry the document, and what proves its origin, to somebody else.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) http: HttpClient,
    pub(super) clock: Arc<dyn Clock>,
    /// The time for the whole exchange.
    pub(super) timeout: Duration,
    /// What to do about an answer that there is nothing at this URL.
    pub(super) if_missing: &'static str,
}

impl Endpoint {
    /// Posts a JSON document.
    ///
    /// | Answer | Tried again | May have arrived |
    /// |---|---|---|
    /// | 2xx | delivered | |
    /// | 408, 425, 429, 503 | after `Retry-After` or the backoff | no |
    /// | other 5xx | after `Retry-After` or the backoff | perhaps |
    /// | 3xx, other 4xx, anything else | no | no |
    /// | no connection | after the backoff | no |
    /// | timeout, reset, broken answer | after the backoff | perhaps |
    ///
    /// # Errors
    /// As in the table. The message names the server but not the path or query, which may be secret.
    pub(super) async fn post(&self, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<Receipt, DeliveryError> {
        self.exchange(body, headers).await.map(|(receipt, _)| receipt)
    }

    /// The same; gives the answer to a success as well.
    pub(super) async fn exchange(
        &self,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<(Receipt, Answer), DeliveryError> {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let request = Request { headers: &all, timeout: self.timeout, ..Request::post(&self.url, body) };
        match self.http.send(request).await {
            Ok(answer) => {
                let receipt = self.judge(answer.status, answer.retry_after.as_deref())?;
                Ok((receipt, answer))
            }
            Err(error) => Err(self.judge_error(&error)),
        }
    }

    fn judge(&self, code: u16, retry_after: Option<&str>) -> Result<Receipt, DeliveryError> {
        let status = StatusCode::from_u16(code).map_or_else(|_| code.to_string(), |status| status.to_string());
        let retry = |reached| {
            let after = retry_after.and_then(|value| retry_after::parse(value, self.clock.now().wall));
            let kind = DeliveryErrorKind::Retry { after };
            Err(DeliveryError { kind, reached, message: self.says(&status) })
        };
        match code {
            200..=299 => Ok(Receipt { detail: status }),
            408 | 425 | 429 | 503 => retry(Reached::No),
            500..=599 => retry(Reached::Maybe),
            refusal => {
                let remedy = match refusal {
                    300..=399 => "redirects are not followed, configure the final URL",
                    401 | 403 => "check the secret",
                    404 | 405 | 410 => self.if_missing,
                    413 => "the document is too large for it",
                    _ => return Err(DeliveryError::permanent(self.says(status))),
                };
                Err(DeliveryError::permanent(self.says(format!("{status}: {remedy}"))))
            }
        }
    }

    fn judge_error(&self, error: &HttpError) -> DeliveryError {
        match error.kind {
            // Another try would build the same request.
            HttpErrorKind::Invalid => DeliveryError::permanent(self.says(error)),
            _ if error.sent => DeliveryError::retry(Reached::Maybe, self.says(error)),
            _ => DeliveryError::retry(Reached::No, self.says(error)),
        }
    }

    pub(super) fn says(&self, what: impl Display) -> String {
        format!("{}: {what}", self.url.origin().ascii_serialization())
    }
}

#[cfg(all(test, unix))]
mod tests;
