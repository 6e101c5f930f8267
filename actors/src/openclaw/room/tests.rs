//! Free slots from the gateway, alone and behind a status route that may be missing.

use serde_json::Value;
use url::Url;

use super::*;
use crate::{
    clock::SystemClock,
    fault_server::{FaultServer, Reply},
    gateway_server::{Act, GatewayServer},
    http::{HttpClient, HttpOptions},
    openclaw::{GatewayOptions, StatusOptions},
    secret::Secret,
};

const TOKEN: &str = "t0p-s3cret";

fn http() -> HttpClient {
    HttpClient::new(&HttpOptions::default())
}

fn gateway(url: Url) -> Gateway {
    Gateway::new(http(), Arc::new(SystemClock::new()), GatewayOptions::new(url, Secret::new(TOKEN)))
}

fn availability(gateway: &Gateway) -> GatewayAvailability {
    GatewayAvailability::new(gateway.clone(), Duration::from_secs(10))
}

fn lanes(active: u64, queued: u64, max: u64) -> Value {
    json!({"lanes": [{"lane": "main", "activeCount": active, "queuedCount": queued, "maxConcurrent": max}]})
}

fn sessions(keys: &[&str]) -> Value {
    json!({"count": keys.len(), "sessions": keys.iter().map(|key| json!({"key": key})).collect::<Vec<_>>()})
}

/// A gateway that answers both questions so.
async fn telling(lanes: Value, sessions: Value) -> GatewayServer {
    GatewayServer::start(TOKEN, move |method, params| match method {
        "diagnostics.lanes" => Act::Answer(lanes.clone()),
        "sessions.list" if params["activeOnly"] == true => Act::Answer(sessions.clone()),
        _ => Act::error("INVALID_REQUEST", None),
    })
    .await
}

#[actix_rt::test]
async fn the_gateway_tells_how_many_slots_are_free() {
    for (lanes, sessions, free) in [
        (lanes(0, 0, 4), sessions(&[]), 4),
        (lanes(1, 0, 4), sessions(&["a", "b"]), 2),
        (lanes(4, 2, 4), sessions(&["a"]), 0),
    ] {
        let server = telling(lanes, sessions).await;
        assert_eq!(availability(&gateway(server.url("ws"))).free().await, Ok(Free::Slots(free)));
    }
}

#[actix_rt::test]
async fn a_push_of_ours_is_counted_until_it_shows_up() {
    let server = telling(lanes(0, 0, 4), sessions(&[])).await;
    let gateway = gateway(server.url("ws"));
    let availability = availability(&gateway);
    gateway.reserve(Some("agent:main:ours"));
    assert_eq!(availability.free().await, Ok(Free::Slots(3)));
    assert_eq!(availability.free().await, Ok(Free::Slots(3)));
    server.handle(|method, _| {
        Act::Answer(if method == "sessions.list" { sessions(&["agent:main:ours"]) } else { lanes(1, 0, 4) })
    });
    assert_eq!(availability.free().await, Ok(Free::Slots(3)));
    server.handle(|method, _| Act::Answer(if method == "sessions.list" { sessions(&[]) } else { lanes(0, 0, 4) }));
    assert_eq!(availability.free().await, Ok(Free::Slots(4)));
}

#[actix_rt::test]
async fn whatever_is_in_doubt_is_no_room() {
    for (lanes, sessions) in [
        (json!({}), sessions(&[])),
        (lanes(0, 0, 4), json!({"sessions": []})),
        (json!({"lanes": [{"lane": "main", "activeCount": "0", "queuedCount": 0, "maxConcurrent": 4}]}), sessions(&[])),
        (json!([]), Value::Null),
    ] {
        let server = telling(lanes, sessions).await;
        let error = availability(&gateway(server.url("ws"))).free().await.expect_err("in doubt");
        assert_eq!(error.kind, AvailabilityErrorKind::NotUnderstood, "{error}");
    }
    let server = GatewayServer::start(TOKEN, |_, _| Act::error("UNAVAILABLE", None)).await;
    let error = availability(&gateway(server.url("ws"))).free().await.expect_err("refused");
    assert_eq!(error.kind, AvailabilityErrorKind::Server);
    let server = GatewayServer::start("another token", |_, _| Act::Answer(json!({}))).await;
    let error = availability(&gateway(server.url("ws"))).free().await.expect_err("refused");
    assert_eq!(error.kind, AvailabilityErrorKind::Unauthorized);
    let server = GatewayServer::start(TOKEN, |_, _| Act::Ignore).await;
    let hasty = GatewayAvailability::new(gateway(server.url("ws")), Duration::from_millis(200));
    assert_eq!(hasty.free().await.expect_err("silence").kind, AvailabilityErrorKind::Timeout);
}

fn status(server: &FaultServer) -> StatusEndpoint {
    let options = StatusOptions {
        url: server.url("/plugins/session-status/status").parse().expect("a URL"),
        token: None,
        pointer: None,
        timeout: Duration::from_secs(10),
    };
    StatusEndpoint::new(http(), Arc::new(SystemClock::new()), options)
}

#[actix_rt::test]
async fn without_a_status_route_the_gateway_is_asked() {
    let web = FaultServer::start([Reply::new(404, &[], "Not Found")]).await;
    let server = telling(lanes(1, 0, 4), sessions(&[])).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let availability = StatusOrGateway::new(status(&web), availability(&gateway(server.url("ws"))), clock);
    for _ in 0..3 {
        assert_eq!(availability.free().await, Ok(Free::Slots(3)));
    }
    assert_eq!(web.requests().len(), 1, "the route is not asked again at every poll");
    // Five minutes later.
    availability.gateway_until.set(Some(Duration::ZERO));
    web.script([Reply::json(r#"{"available": 9}"#)]);
    assert_eq!(availability.free().await, Ok(Free::Slots(9)));
    assert_eq!(availability.free().await, Ok(Free::Slots(9)));
}

#[actix_rt::test]
async fn a_status_route_that_fails_otherwise_is_not_replaced() {
    let server = telling(lanes(0, 0, 4), sessions(&[])).await;
    for (reply, kind) in [
        (Reply::new(401, &[], "{}"), AvailabilityErrorKind::Unauthorized),
        (Reply::new(503, &[], "{}"), AvailabilityErrorKind::Server),
        (Reply::new(200, &[("content-type", "text/html")], "<html>"), AvailabilityErrorKind::NotJson),
    ] {
        let web = FaultServer::start([reply]).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let availability = StatusOrGateway::new(status(&web), availability(&gateway(server.url("ws"))), clock);
        assert_eq!(availability.free().await.expect_err("a failure").kind, kind);
    }
    assert_eq!(server.connections().0, 0);
}
