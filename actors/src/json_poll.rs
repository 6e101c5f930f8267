//! One poll of a JSON resource over HTTP: from a URL to what a [`Source`](crate::source::Source) answers.
//!
//! The sources that speak HTTP share this; they differ in where a projection is, how they read an answer, and in the
//! words with which they say what to do about a failure.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::{
    clock::Clock,
    http::{Answer, HttpClient, HttpError, HttpErrorKind, Request},
    model::{
        retry_after,
        value::{self, body_hash},
    },
    secret::Secret,
    source::{Observation, SourceError, SourceErrorKind, Validators},
};

/// How a source's resources are asked for.
pub(crate) struct JsonPoll<'a> {
    pub(crate) http: &'a HttpClient,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
    pub(crate) complaints: Complaints<'a>,
    pub(crate) remedies: &'a Remedies,
}

/// Whether errors show what the peer says about its own failure.
#[derive(Clone, Copy)]
pub(crate) enum Complaints<'a> {
    /// They do, but for this token, should the peer repeat it.
    Without(Option<&'a Secret>),
    /// Never.
    Hidden,
}

/// What people can do about a failure; appended to its words.
pub(crate) struct Remedies {
    /// 401 and 403.
    pub(crate) unauthorized: &'static str,
    /// 404 that does not say so in JSON.
    pub(crate) not_found: &'static str,
    /// An answer above the limit.
    pub(crate) too_large: &'static str,
}

impl JsonPoll<'_> {
    /// Asks for `url`. `read` finds the value in a successful answer, or says why there is none.
    pub(crate) async fn observe(
        &self,
        url: &Url,
        known: &Validators,
        read: impl FnOnce(Value) -> Result<Value, Unreadable>,
    ) -> Result<Observation, SourceError> {
        let mut headers = vec![("accept", "application/json")];
        headers.extend(self.headers);
        headers.extend(known.etag.as_deref().map(|etag| ("if-none-match", etag)));
        let request =
            Request { headers: &headers, timeout: self.timeout, max_body: self.max_body, ..Request::get(url) };
        let answer = self.http.send(request).await.map_err(|error| self.unanswered(url, &error))?;
        let refused = |kind, remark| Err(self.refused(url, kind, &answer, remark));
        match answer.status {
            202 | 206 => refused(SourceErrorKind::Server, ", which is not the whole projection"),
            200..300 => self.read(url, known, answer, read),
            304 if known.etag.is_some() => Ok(Observation::Unchanged),
            404 => match value::parse(&answer.body) {
                Ok(Value::Object(_)) => Ok(Observation::Absent),
                _ => refused(SourceErrorKind::NotJson, self.remedies.not_found),
            },
            401 | 403 => refused(SourceErrorKind::Unauthorized, self.remedies.unauthorized),
            429 => refused(SourceErrorKind::RateLimited, ""),
            _ => refused(SourceErrorKind::Server, ""),
        }
    }

    /// What a successful answer says.
    fn read(
        &self,
        url: &Url,
        known: &Validators,
        answer: Answer,
        read: impl FnOnce(Value) -> Result<Value, Unreadable>,
    ) -> Result<Observation, SourceError> {
        let not_json = |what: &str| error(url, SourceErrorKind::NotJson, what);
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
        match read(body) {
            Ok(value) => {
                let validators = Validators { etag: answer.etag, body_hash: Some(hash) };
                Ok(Observation::Present { value, validators })
            }
            Err(Unreadable::NoValue(why)) => Err(not_json(&why)),
            Err(Unreadable::OnlyError) => {
                Err(self.refused(url, SourceErrorKind::Server, &answer, " with an error instead of a value"))
            }
        }
    }

    /// An error that the server, or something in front of it, answered.
    fn refused(&self, url: &Url, kind: SourceErrorKind, answer: &Answer, remark: &str) -> SourceError {
        let complaint = match self.complaints {
            Complaints::Without(token) => answer.complaint(token),
            Complaints::Hidden => String::new(),
        };
        let message = format!("it answered {}{complaint}{remark}", answer.status_words());
        let value = answer.retry_after.as_deref();
        let retry_after = value.and_then(|value| retry_after::parse(value, self.clock.now().wall));
        SourceError { retry_after, ..error(url, kind, &message) }
    }

    /// No answer at all.
    fn unanswered(&self, url: &Url, failure: &HttpError) -> SourceError {
        let (kind, remedy) = match failure.kind {
            HttpErrorKind::Timeout => (SourceErrorKind::Timeout, ""),
            HttpErrorKind::TooLarge => (SourceErrorKind::TooLarge, self.remedies.too_large),
            HttpErrorKind::Redirect => (SourceErrorKind::Redirect, ""),
            HttpErrorKind::Encoding => (SourceErrorKind::NotJson, ""),
            HttpErrorKind::Invalid => (SourceErrorKind::Internal, ""),
            HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::Transport => (SourceErrorKind::Transport, ""),
        };
        error(url, kind, &format!("{failure}{remedy}"))
    }
}

/// Why a successful answer has no value.
pub(crate) enum Unreadable {
    /// In words.
    NoValue(String),
    /// It is nothing but an error.
    OnlyError,
}

/// The words for a configured pointer that finds nothing.
pub(crate) fn leads_nowhere(pointer: &crate::model::pointer::Pointer) -> Unreadable {
    Unreadable::NoValue(format!("the valuePointer {:?} leads nowhere in the answer", pointer.as_str()))
}

/// An error that names its place, without what may be secret in a URL.
fn error(url: &Url, kind: SourceErrorKind, what: &str) -> SourceError {
    SourceError::new(kind, format!("{}: {what}", url.origin().ascii_serialization()))
}
