//! OpenClaw's status route: the [`Availability`] that the scheduler asks.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use url::Url;

use crate::{
    availability::{Availability, AvailabilityError, AvailabilityErrorKind},
    clock::Clock,
    http::{Answer, HttpClient, HttpError, HttpErrorKind, Request},
    model::{
        availability::{self, Free},
        pointer::Pointer,
        retry_after, value,
    },
    secret::Secret,
};

/// The largest status that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Where OpenClaw tells its status and how it is asked.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// The route.
    pub url: Url,
    /// The bearer token, if there is one.
    pub token: Option<Secret>,
    /// Where in the answer the free slots stand, if the usual rules do not find them.
    pub pointer: Option<Pointer>,
    /// The time for one request, from connecting to the last byte.
    pub timeout: Duration,
}

/// Reads the free slots from a status route: JSON, whatever its `Content-Type`, by the rules of
/// [`availability::read`]. Anything but a successful answer that these rules understand is an error.
pub struct StatusEndpoint {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    options: StatusOptions,
    authorization: Option<Secret>,
}

impl StatusEndpoint {
    /// An availability; `clock` is what dates in `Retry-After` are compared with.
    #[must_use]
    pub fn new(http: HttpClient, clock: Arc<dyn Clock>, options: StatusOptions) -> Self {
        let authorization = options.token.as_ref().map(|token| Secret::new(format!("Bearer {}", token.expose())));
        Self { http, clock, options, authorization }
    }

    async fn ask(&self) -> Result<Free, AvailabilityError> {
        let mut headers = vec![("accept", "application/json")];
        headers.extend(self.authorization.as_ref().map(|authorization| ("authorization", authorization.expose())));
        let request = Request {
            headers: &headers,
            timeout: self.options.timeout,
            max_body: MAX_BODY,
            ..Request::get(&self.options.url)
        };
        let answer = self.http.send(request).await.map_err(|error| self.unanswered(&error))?;
        match answer.status {
            200..300 => self.read(&answer),
            401 | 403 if self.options.token.is_none() => {
                Err(self.refused(AvailabilityErrorKind::Unauthorized, &answer, ": set oc.statusToken"))
            }
            401 | 403 => {
                let remark = ": the token was refused; check oc.statusToken";
                Err(self.refused(AvailabilityErrorKind::Unauthorized, &answer, remark))
            }
            404 => {
                let remark = ": OpenClaw lacks the plugin with this route, or oc.statusEndpoint is wrong";
                Err(self.refused(AvailabilityErrorKind::NotFound, &answer, remark))
            }
            429 => Err(self.refused(AvailabilityErrorKind::RateLimited, &answer, "")),
            _ => Err(self.refused(AvailabilityErrorKind::Server, &answer, "")),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Free, AvailabilityError> {
        let status = value::parse(&answer.body).map_err(|error| {
            let what = if answer.is_html() {
                "it answered text/html, not JSON, as OpenClaw does where it has no route; check oc.statusEndpoint"
                    .to_owned()
            } else {
                format!("the answer is {error}")
            };
            self.error(AvailabilityErrorKind::NotJson, &what)
        })?;
        availability::read(&status, self.options.pointer.as_ref())
            .map_err(|error| self.error(AvailabilityErrorKind::NotUnderstood, &error.to_string()))
    }

    /// An error that OpenClaw, or something in front of it, answered.
    fn refused(&self, kind: AvailabilityErrorKind, answer: &Answer, remark: &str) -> AvailabilityError {
        let complaint = answer.complaint(self.options.token.as_ref());
        let message = format!("it answered {}{complaint}{remark}", answer.status_words());
        let value = answer.retry_after.as_deref();
        let retry_after = value.and_then(|value| retry_after::parse(value, self.clock.now().wall));
        AvailabilityError { retry_after, ..self.error(kind, &message) }
    }

    /// No answer at all.
    fn unanswered(&self, error: &HttpError) -> AvailabilityError {
        let kind = match error.kind {
            HttpErrorKind::Timeout => AvailabilityErrorKind::Timeout,
            HttpErrorKind::TooLarge | HttpErrorKind::Encoding => AvailabilityErrorKind::NotJson,
            HttpErrorKind::Invalid => AvailabilityErrorKind::Internal,
            HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::Transport | HttpErrorKind::Redirect => {
                AvailabilityErrorKind::Transport
            }
        };
        self.error(kind, &error.to_string())
    }

    fn error(&self, kind: AvailabilityErrorKind, what: &str) -> AvailabilityError {
        AvailabilityError::new(kind, format!("{}: {what}", self.options.url.origin().ascii_serialization()))
    }
}

impl Availability for StatusEndpoint {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        self.ask().boxed_local()
    }
}

#[cfg(test)]
mod tests;
