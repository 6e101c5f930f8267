//! Any HTTP server that answers JSON: the [`Source`] for those without OGraph.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use crate::{
    clock::Clock,
    http::HttpClient,
    json_poll::{Complaints, JsonPoll, Remedies, Unreadable, leads_nowhere},
    model::{key::Projection, pointer::Pointer},
    secret::Secret,
    source::{Observation, Source, SourceError, SourceErrorKind, Validators},
};

/// All but what a segment of a path may contain unescaped.
const IN_A_SLOT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The placeholder for the projection's name.
const NAME: &str = "name";

const REMEDIES: Remedies = Remedies {
    unauthorized: ": access was refused; check the headers",
    not_found: " without JSON; is the URL right?",
    too_large: "",
};

/// Where the projections are and how they are asked for.
#[derive(Clone, Debug)]
pub struct HttpJsonOptions {
    /// Where a projection is that has no URL of its own.
    pub url: UrlTemplate,
    /// The URLs of projections that are elsewhere, by name.
    pub urls: BTreeMap<String, UrlTemplate>,
    /// Sent with every request, e.g. `Authorization`; never to another origin, wherever redirects lead. As long as there
    /// are any, errors do not show what the server says about its failure, because it might repeat them.
    pub headers: Vec<(String, Secret)>,
    /// The time for one poll, from connecting to the last byte.
    pub timeout: Duration,
    /// The largest answer that is accepted, in bytes after decompression.
    pub max_body: usize,
}

impl HttpJsonOptions {
    /// Everything at `url`, without headers, within 10 s and 4 MiB.
    #[must_use]
    pub fn new(url: UrlTemplate) -> Self {
        Self {
            url,
            urls: BTreeMap::new(),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            max_body: 4 * 1024 * 1024,
        }
    }
}

/// Reads projections from any HTTP server that answers JSON.
///
/// The projection's value is the whole answer, or what its
/// [`value_pointer`](crate::model::key::Projection::value_pointer) finds in it.
///
/// | Answer | Observation or error |
/// |---|---|
/// | 304, or 2xx with the bytes of last time | `Unchanged`; nothing is parsed |
/// | 2xx with JSON | `Present`, whatever `Content-Type` says |
/// | 404 with a JSON object | `Absent` |
/// | 404 with anything else: perhaps a wrong URL | `NotJson` |
/// | 2xx that is not JSON, is empty, or in which the pointer leads nowhere | `NotJson` |
/// | 202 and 206, which are not the answer but a promise or a part of it | `Server` |
/// | 401, 403; 429; any other status | `Unauthorized`; `RateLimited`; `Server` |
/// | no complete answer | `Transport`, `Timeout`, `TooLarge`, `Redirect` |
pub struct HttpJsonSource {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    options: HttpJsonOptions,
}

impl HttpJsonSource {
    /// A source; `clock` is what dates in `Retry-After` are compared with.
    #[must_use]
    pub fn new(http: HttpClient, clock: Arc<dyn Clock>, options: HttpJsonOptions) -> Self {
        Self { http, clock, options }
    }

    async fn poll(&self, projection: &Projection, known: &Validators) -> Result<Observation, SourceError> {
        let template = self.options.urls.get(&projection.name).unwrap_or(&self.options.url);
        let url = template
            .expand(&projection.name, &projection.params)
            .map_err(|error| SourceError::new(SourceErrorKind::Internal, error.to_string()))?;
        let headers: Vec<_> =
            self.options.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let poll = JsonPoll {
            http: &self.http,
            clock: &*self.clock,
            headers: &headers,
            timeout: self.options.timeout,
            max_body: self.options.max_body,
            complaints: if headers.is_empty() { Complaints::Without(None) } else { Complaints::Hidden },
            remedies: &REMEDIES,
        };
        poll.observe(&url, known, |answer| read(answer, projection.value_pointer.as_ref())).await
    }
}

fn read(mut answer: Value, pointer: Option<&Pointer>) -> Result<Value, Unreadable> {
    match pointer {
        Some(pointer) => answer.pointer_mut(pointer.as_str()).map(Value::take).ok_or_else(|| leads_nowhere(pointer)),
        None => Ok(answer),
    }
}

impl Source for HttpJsonSource {
    fn observe<'a>(
        &'a self,
        projection: &'a Projection,
        known: &'a Validators,
    ) -> LocalBoxFuture<'a, Result<Observation, SourceError>> {
        self.poll(projection, known).boxed_local()
    }
}

/// A URL with placeholders: `{name}` stands for the projection's name, `{x}` for its parameter `x`. Parameters that have
/// no placeholder are added to the query.
///
/// ```
/// use ograph_dispatcher_actors::{http_json::UrlTemplate, model::key::Projection};
///
/// let template: UrlTemplate = "https://api.example.com/agents/{agent}/{name}".parse()?;
/// let Projection { name, params, .. } = "tasks?agent=7&state=open".parse()?;
/// assert_eq!(template.expand(&name, &params)?.as_str(), "https://api.example.com/agents/7/tasks?state=open");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    /// Every placeholder with the text before it.
    slots: Vec<(String, String)>,
    /// The text behind the last one.
    rest: String,
}

/// Why a text is no template, or makes no URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTemplate {
    /// `{` without `}`, `}` without `{`, or nothing between them.
    #[error("a placeholder of the URL is not complete; write it as {{name}}")]
    Braces,
    /// Not the URL of something over HTTP.
    #[error("the template makes no http or https URL")]
    NotHttp,
    /// A placeholder that decides which server is asked.
    #[error("{{{0}}} stands before the path of the URL; the server must be fixed")]
    Server(String),
    /// A parameter that the projection does not have.
    #[error("the URL needs the parameter `{}`, which the projection does not have", .0.escape_debug())]
    Missing(String),
    /// A value that would leave its place in the path.
    #[error("the parameter `{}` cannot be `.` or `..` in a URL", .0.escape_debug())]
    Dots(String),
}

impl UrlTemplate {
    /// The URL of a projection. What is filled in stays one segment, or one value of the query, whatever it contains.
    ///
    /// # Errors
    /// If a placeholder has no value, or one that cannot stand in a URL.
    pub fn expand(&self, name: &str, params: &BTreeMap<String, String>) -> Result<Url, InvalidTemplate> {
        let mut text = String::new();
        for (before, slot) in &self.slots {
            let value = match slot.as_str() {
                NAME => name,
                param => params.get(param).ok_or_else(|| InvalidTemplate::Missing(slot.clone()))?,
            };
            if [".", ".."].contains(&value) {
                return Err(InvalidTemplate::Dots(slot.clone()));
            }
            text.push_str(before);
            text.extend(utf8_percent_encode(value, IN_A_SLOT));
        }
        text.push_str(&self.rest);
        let mut url = Url::parse(&text).map_err(|_| InvalidTemplate::NotHttp)?;
        let more = params.iter().filter(|(param, _)| !self.slots.iter().any(|(_, slot)| slot == *param));
        for (param, value) in more {
            url.query_pairs_mut().append_pair(param, value);
        }
        Ok(url)
    }
}

impl FromStr for UrlTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut slots = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (slot, after) = after.split_once('}').ok_or(InvalidTemplate::Braces)?;
            if slot.is_empty() || slot.contains('{') || before.contains('}') {
                return Err(InvalidTemplate::Braces);
            }
            slots.push((before.to_owned(), slot.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(InvalidTemplate::Braces);
        }
        let start = slots.first().map_or(rest, |(before, _)| before);
        if let Some((_, slot)) = slots.first() {
            let path = start.split_once("://").is_some_and(|(_, behind)| behind.contains(['/', '?', '#']));
            if !path {
                return Err(InvalidTemplate::Server(slot.clone()));
            }
        }
        let url = Url::parse(start).map_err(|_| InvalidTemplate::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(InvalidTemplate::NotHttp);
        }
        Ok(Self { rest: rest.to_owned(), slots })
    }
}

impl fmt::Debug for UrlTemplate {
    /// Without the text, in which there may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.iter().map(|(_, slot)| slot)).finish()
    }
}

#[cfg(test)]
mod tests;
