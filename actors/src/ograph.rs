//! OGraph over HTTP: the [`Source`] that the watcher polls.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use serde_json::Value;
use url::Url;

use crate::{
    clock::Clock,
    http::HttpClient,
    json_poll::{Complaints, JsonPoll, Remedies, Unreadable, leads_nowhere},
    model::{key::Projection, pointer::Pointer, value},
    secret::Secret,
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
};

const REMEDIES: Remedies = Remedies {
    unauthorized: ": the token was refused; check ograph.token",
    not_found: " without OGraph's JSON; is ograph.endpoint right?",
    too_large: "; ograph.maxBodyBytes is the limit",
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
        let poll = JsonPoll {
            http: &self.http,
            clock: &*self.clock,
            headers: &[("authorization", self.authorization.expose())],
            timeout: self.options.timeout,
            max_body: self.options.max_body,
            complaints: Complaints::Without(Some(&self.options.token)),
            remedies: &REMEDIES,
        };
        poll.observe(&url, known, |answer| read(answer, projection.value_pointer.as_ref())).await
    }

    /// `<endpoint>/projections/<name>?<params>`, the name as one segment whatever it contains.
    fn url(&self, projection: &Projection) -> Result<Url, SourceError> {
        let mut url = self.options.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| SourceError::new(SourceErrorKind::Internal, "ograph.endpoint cannot be the base of a URL"))?
            .pop_if_empty()
            .extend(["projections", &projection.name]);
        url.set_query(projection.query().strip_prefix('?'));
        Ok(url)
    }
}

/// The projection's value in OGraph's answer.
fn read(answer: Value, pointer: Option<&Pointer>) -> Result<Value, Unreadable> {
    let only_error = |members: &serde_json::Map<_, _>| members.len() == 1 && members.contains_key("error");
    if pointer.is_none() && answer.as_object().is_some_and(only_error) {
        return Err(Unreadable::OnlyError);
    }
    value::extract(answer, pointer).ok_or_else(|| match pointer {
        Some(pointer) => leads_nowhere(pointer),
        None => Unreadable::NoValue("the answer has no value".to_owned()),
    })
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
