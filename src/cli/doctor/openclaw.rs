//! What is checked at OpenClaw: its gateway, and the routes of the plugin. Nothing is sent but questions.

use std::{sync::Arc, time::Duration};

use ograph_dispatcher_actors::{
    availability::{AvailabilityError, AvailabilityErrorKind},
    clock::Clock,
    http::{HttpClient, HttpOptions, Request},
    openclaw::{GatewayError, GatewayErrorKind},
};
use serde_json::json;

use super::Finding;
use crate::{
    assemble,
    cli::human,
    config::{Config, Gateway, Oc, SafeUrl},
};

/// What installs the plugin's routes.
const INSTALL: &str = "`ograph-dispatcher openclaw install-plugin --apply`, then restart OpenClaw's gateway";
/// The time for a question to a receiver's route.
const ROUTE: Duration = Duration::from_secs(10);

/// The handshake with the gateway, its version, and whether it tells its lanes.
pub(super) async fn gateway(gateway: &Gateway, oc: &Oc, nearby: &HttpOptions, clock: &Arc<dyn Clock>) -> Finding {
    const NAME: &str = "gateway";
    let url = &gateway.url;
    let connection = assemble::connect(gateway, nearby, clock);
    match connection.call("diagnostics.lanes", json!({}), oc.timeout).await {
        Ok(answer) => {
            let version = connection.version().unwrap_or_else(|| "of unknown version".to_owned());
            match answer["lanes"].as_array().map(Vec::len) {
                Some(lanes @ 1..) => {
                    let lanes = human::count(lanes as u64, "lane");
                    Finding::ok(NAME, format!("{url} is OpenClaw {version}; {lanes} read"))
                }
                _ => Finding::fail(NAME, format!("{url} is OpenClaw {version}, but tells no lanes"))
                    .remedy(format!("update OpenClaw, or install the plugin: {INSTALL}")),
            }
        }
        Err(error) => Finding::fail(NAME, error.message.clone()).remedy(remedy(&error)),
    }
}

fn remedy(error: &GatewayError) -> &'static str {
    match error.kind {
        GatewayErrorKind::Unauthorized => {
            "set oc.gateway.token (OPENCLAW_GATEWAY_TOKEN) to gateway.auth.token of openclaw.json"
        }
        GatewayErrorKind::ProtocolMismatch => "update OpenClaw or this program, whichever is older",
        GatewayErrorKind::Starting => "try again in a minute; OpenClaw is starting",
        GatewayErrorKind::Down => "start OpenClaw (`openclaw gateway run`), or correct oc.gateway.url",
        GatewayErrorKind::Closed | GatewayErrorKind::Timeout => "try again; a longer oc.timeout, if OpenClaw is slow",
        GatewayErrorKind::Garbage => "correct oc.gateway.url: something else than OpenClaw's gateway answers there",
        GatewayErrorKind::Refused(_) => "update OpenClaw, or install the plugin and use oc.statusEndpoint",
    }
}

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
    let token = oc.status_token.as_ref().map(|token| format!("Bearer {}", token.expose()));
    let (url, status) = (&oc.status_endpoint, ask(&oc.status_endpoint, token.as_deref(), oc.timeout, nearby).await?);
    Some(match status {
        404 => Finding::warn(NAME, format!("{url} answers 404; the gateway is asked instead"))
            .remedy(format!("remove oc.statusEndpoint, or install the plugin: {INSTALL}")),
        401 | 403 => Finding::fail(NAME, format!("{url} refuses the token ({status})"))
            .remedy("set oc.statusToken to gateway.auth.token of openclaw.json"),
        _ => Finding::ok(NAME, format!("{url} answers {status}")),
    })
}

/// Whether a plugin's route is there: it takes documents by POST, and anything but 404 to a GET shows that it exists.
/// `None` if that cannot be told.
pub(super) async fn plugin_route(name: &str, url: &SafeUrl, secret: &str, nearby: &HttpOptions) -> Option<Finding> {
    let status = ask(url, Some(&format!("Bearer {secret}")), ROUTE, nearby).await?;
    match status {
        // Other servers may say so of a route that only takes POST.
        404 => Some(
            Finding::warn(name, format!("{url} answers 404: the plugin's route is not there"))
                .remedy(format!("install the plugin: {INSTALL}")),
        ),
        401 | 403 => Some(
            Finding::fail(name, format!("{url} refuses the secret ({status})"))
                .remedy("set its secret to gateway.auth.token of openclaw.json"),
        ),
        _ => None,
    }
}

/// The status of the answer to a `GET`; `None` without an answer.
async fn ask(url: &SafeUrl, authorization: Option<&str>, timeout: Duration, nearby: &HttpOptions) -> Option<u16> {
    let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
    let request = Request { timeout, headers: &headers, redirects: false, ..Request::get(url.expose()) };
    Some(HttpClient::new(nearby).send(request).await.ok()?.status)
}
