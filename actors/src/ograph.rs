//! OGraph over HTTP: the [`Source`] that the watcher polls.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use serde_json::Value;
use url::Url;

use crate::{
    clock::Clock,
    http::{Answer, HttpClient, HttpError, HttpErrorKind, Request},
    model::{
        key::Projection,
        retry_after,
        value::{self, body_hash},
    },
    secret::Secret,
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
};

/// Where OGraph is and how it is asked.
#[derive(Clone, Debug)]
pub struct OGraphOptions {
    /// Its base URL; the path may be more than `/`. Its query, if any, is replaced.
    pub endpoint: Url,
    /// The bearer token.
    pub token: Secret,
    /// The time for one poll, from connecting to the last byte.
    pub timeout: Duration,
    /// The largest answer that is accepted, in bytes after decompression.
    pub max_body: usize,
}

/// Reads projections from OGraph: `GET <endpoint>/projections/<name>?<params>`.
///
/// | Answer | Observation or error |
/// |---|---|
/// | 304, or 2xx with the bytes of last time | `Unchanged`; nothing is parsed |
/// | 2xx with JSON | `Present`, whatever `Content-Type` says |
/// | 404 with a JSON object | `Absent` |
/// | 404 with anything else: a CDN, a captive portal, a wrong endpoint | `NotJson` |
/// | 2xx that is not JSON, is empty, or in which the configured pointer leads nowhere | `NotJson` |
/// | 202 and 206, which are not the projection but a promise or a part of it | `Server` |
/// | 2xx with an object whose only member is `error`, unless a pointer is configured | `Server` |
/// | 401, 403; 429; any other status | `Unauthorized`; `RateLimited`; `Server` |
/// | no complete answer | `Transport`, `Timeout`, `TooLarge`, `Redirect` |
pub struct OGraphSource {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    options: OGraphOptions,
    authorization: Secret,
}

impl OGraphSource {
    /// A source; `clock` is what dates in `Retry-After` are compared with.
    #[must_use]
    pub fn new(http: HttpClient, clock: Arc<dyn Clock>, options: OGraphOptions) -> Self {
        let authorization = Secret::new(format!("Bearer {}", options.token.expose()));
        Self { http, clock, options, authorization }
    }

    async fn poll(&self, projection: &Projection, known: &Validators) -> Result<Observation, SourceError> {
        let url = self.url(projection)?;
        let mut headers = vec![("authorization", self.authorization.expose()), ("accept", "application/json")];
        headers.extend(known.etag.as_deref().map(|etag| ("if-none-match", etag)));
        let request = Request {
            headers: &headers,
            timeout: self.options.timeout,
            max_body: self.options.max_body,
            ..Request::get(&url)
        };
        let answer = self.http.send(request).await.map_err(|error| self.unanswered(&error))?;
        match answer.status {
            202 | 206 => Err(self.refused(SourceErrorKind::Server, &answer, ", which is not the whole projection")),
            200..300 => self.read(projection, known, answer),
            304 if known.etag.is_some() => Ok(Observation::Unchanged),
            404 => match value::parse(&answer.body) {
                Ok(Value::Object(_)) => Ok(Observation::Absent),
                _ => Err(self.refused(
                    SourceErrorKind::NotJson,
                    &answer,
                    " without OGraph's JSON; is ograph.endpoint right?",
                )),
            },
            401 | 403 => {
                Err(self.refused(SourceErrorKind::Unauthorized, &answer, ": the token was refused; check ograph.token"))
            }
            429 => Err(self.refused(SourceErrorKind::RateLimited, &answer, "")),
            _ => Err(self.refused(SourceErrorKind::Server, &answer, "")),
        }
    }

    /// `<endpoint>/projections/<name>?<params>`, the name as one segment whatever it contains.
    fn url(&self, projection: &Projection) -> Result<Url, SourceError> {
        let mut url = self.options.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| self.error(SourceErrorKind::Internal, "ograph.endpoint cannot be the base of a URL"))?
            .pop_if_empty()
            .extend(["projections", &projection.name]);
        url.set_query(projection.query().strip_prefix('?'));
        Ok(url)
    }

    /// What a successful answer says.
    fn read(&self, projection: &Projection, known: &Validators, answer: Answer) -> Result<Observation, SourceError> {
        let not_json = |what: &str| self.error(SourceErrorKind::NotJson, what);
        if answer.body.is_empty() {
            return Err(not_json(&format!("it answered {} without a body", answer.status_words())));
        }
        let hash = body_hash(&answer.body);
        if known.body_hash == Some(hash) {
            return Ok(Observation::Unchanged);
        }
        let body = value::parse(&answer.body).map_err(|error| {
            if answer.is_html() {
                not_json("it answered text/html, not JSON: a captive portal or a wrong endpoint?")
            } else {
                not_json(&format!("the answer is {error}"))
            }
        })?;
        let pointer = projection.value_pointer.as_ref();
        let only_error = |members: &serde_json::Map<_, _>| members.len() == 1 && members.contains_key("error");
        if pointer.is_none() && body.as_object().is_some_and(only_error) {
            return Err(self.refused(SourceErrorKind::Server, &answer, " with an error instead of a value"));
        }
        match value::extract(body, pointer) {
            Some(value) => {
                let validators = Validators { etag: answer.etag, body_hash: Some(hash) };
                Ok(Observation::Present { value, validators })
            }
            None => Err(not_json(&match pointer {
                Some(pointer) => format!("the valuePointer {:?} leads nowhere in the answer", pointer.as_str()),
                None => "the answer has no value".to_owned(),
            })),
        }
    }

    /// An error that OGraph, or something in front of it, answered.
    fn refused(&self, kind: SourceErrorKind, answer: &Answer, remark: &str) -> SourceError {
        let complaint = answer.complaint(Some(&self.options.token));
        let message = format!("it answered {}{complaint}{remark}", answer.status_words());
        let value = answer.retry_after.as_deref();
        let retry_after = value.and_then(|value| retry_after::parse(value, self.clock.now().wall));
        SourceError { retry_after, ..self.error(kind, &message) }
    }

    /// No answer at all.
    fn unanswered(&self, error: &HttpError) -> SourceError {
        let (kind, remedy) = match error.kind {
            HttpErrorKind::Timeout => (SourceErrorKind::Timeout, ""),
            HttpErrorKind::TooLarge => (SourceErrorKind::TooLarge, "; ograph.maxBodyBytes is the limit"),
            HttpErrorKind::Redirect => (SourceErrorKind::Redirect, ""),
            HttpErrorKind::Encoding => (SourceErrorKind::NotJson, ""),
            HttpErrorKind::Invalid => (SourceErrorKind::Internal, ""),
            HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::Transport => (SourceErrorKind::Transport, ""),
        };
        self.error(kind, &format!("{error}{remedy}"))
    }

    fn error(&self, kind: SourceErrorKind, what: &str) -> SourceError {
        SourceError::new(kind, format!("{}: {what}", self.options.endpoint.origin().ascii_serialization()))
    }
}

impl Source for OGraphSource {
    fn observe<'a>(
        &'a self,
        projection: &'a Projection,
        known: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        self.poll(projection, known).boxed_local()
    }
}

#[cfg(test)]
mod tests;
