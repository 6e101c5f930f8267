//! What is checked at OpenClaw over HTTP: the routes of the plugin, and the hooks. Nothing is sent but questions.

use std::time::Duration;

use ograph_dispatcher_actors::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    http::{Answer, HttpClient, HttpOptions, Request},
};
use serde_json::Value;
use url::Url;

use super::Finding;
use crate::config::{Config, Oc, SafeUrl};

/// What installs the plugin's routes.
pub(super) const INSTALL: &str = "`ograph-dispatcher openclaw install-plugin --apply`, then restart OpenClaw's gateway";
/// The time for a question to a receiver's route.
const ROUTE: Duration = Duration::from_secs(10);

/// What makes the availability known again.
pub(super) fn availability_remedy(error: &AvailabilityError, config: &Config) -> String {
    let asks_gateway_alone = config.oc.gateway.is_some() && !config.oc.status_is_set;
    match error.kind {
        AvailabilityErrorKind::NotFound => {
            format!("install the plugin: {INSTALL}; or set oc.gateway, which needs none")
        }
        _ if asks_gateway_alone => {
            "nothing is pushed while this fails; check oc.gateway and that OpenClaw runs".to_owned()
        }
        _ => "nothing is pushed while this fails; check oc.statusEndpoint, oc.statusToken and that OpenClaw runs"
            .to_owned(),
    }
}

/// Whether the status route is there, where the gateway would hide that it is not.
pub(super) async fn status_route(oc: &Oc, nearby: &HttpOptions) -> Option<Finding> {
    const NAME: &str = "status route";
    let url = &oc.status_endpoint;
    let token = oc.status_token.as_ref().map(|token| format!("Bearer {}", token.expose()));
    let request = Request { timeout: oc.timeout, ..question(Request::get(url.expose())) };
    let answer = ask(request, token.as_deref(), nearby).await?;
    Some(match answer.status {
        404 => Finding::warn(NAME, format!("{url} answers 404; the gateway is asked instead"))
            .remedy(format!("remove oc.statusEndpoint, or install the plugin: {INSTALL}")),
        status @ (401 | 403) => Finding::fail(NAME, format!("{url} refuses the token ({status})"))
            .remedy("set oc.statusToken to gateway.auth.token of openclaw.json"),
        status => Finding::ok(NAME, format!("{url} answers {status}")),
    })
}

/// Whether a plugin's route is there: it takes documents by POST, and anything but 404 to a GET shows that it exists.
/// `None` if that cannot be told.
pub(super) async fn plugin_route(name: &str, url: &SafeUrl, secret: &str, nearby: &HttpOptions) -> Option<Finding> {
    let answer = ask(question(Request::get(url.expose())), Some(&format!("Bearer {secret}")), nearby).await?;
    match answer.status {
        // Other servers may say so of a route that only takes POST.
        404 => Some(
            Finding::warn(name, format!("{url} answers 404: the plugin's route is not there"))
                .remedy(format!("install the plugin: {INSTALL}")),
        ),
        status @ (401 | 403) => Some(
            Finding::fail(name, format!("{url} refuses the secret ({status})"))
                .remedy("set its secret to gateway.auth.token of openclaw.json"),
        ),
        _ => None,
    }
}

/// Whether a hook is there and takes the token: it is posted an object without a message, which OpenClaw refuses after
/// it has looked at the token. (To a `GET` it answers the same with every token.) `None` without an answer.
pub(super) async fn hook(name: &str, url: &Url, token: &str, nearby: &HttpOptions) -> Option<Finding> {
    let request = question(Request::post(url, b"{}".to_vec()));
    let answer = ask(request, Some(&format!("Bearer {token}")), nearby).await?;
    let shown = SafeUrl::new(url.clone());
    Some(match answer.status {
        400 if is_refused_by_hook(&answer) => {
            Finding::ok(name, format!("{shown} takes the token; nothing was delivered"))
        }
        status @ (401 | 403) => Finding::fail(name, format!("{shown} refuses the token ({status})"))
            .remedy("set its token to hooks.token of openclaw.json; it is not gateway.auth.token"),
        404 => Finding::fail(name, format!("{shown} answers 404: OpenClaw's hooks are off, or elsewhere"))
            .remedy("set hooks.enabled and hooks.token in openclaw.json, or correct its url"),
        429 => Finding::warn(name, format!("{shown} answers 429: OpenClaw was given too many wrong tokens"))
            .remedy("wait a few minutes, then try again with the right one"),
        503 => {
            Finding::warn(name, format!("{shown} answers 503")).remedy("try again in a minute; OpenClaw is starting")
        }
        status => Finding::fail(name, format!("{shown} answers {status}, but not as OpenClaw's hooks do"))
            .remedy("its url is OpenClaw's base address, such as http://127.0.0.1:18789"),
    })
}

/// Whether these are the words of a hook that misses a message: others answer 400 as well.
fn is_refused_by_hook(answer: &Answer) -> bool {
    serde_json::from_slice(&answer.body).is_ok_and(|body: Value| body["ok"] == false && body["error"].is_string())
}

/// A request that takes what it gets: no redirects, no patience.
fn question(request: Request<'_>) -> Request<'_> {
    Request { timeout: ROUTE, redirects: false, ..request }
}

/// The answer, if there is one.
async fn ask(request: Request<'_>, authorization: Option<&str>, nearby: &HttpOptions) -> Option<Answer> {
    let headers: Vec<_> = authorization
        .map(|value| ("authorization", value))
        .into_iter()
        .chain([("content-type", "application/json")])
        .collect();
    HttpClient::new(nearby).send(Request { headers: &headers, ..request }).await.ok()
}
