//! OpenClaw as it answers, starts up, and fails.

use super::*;
use crate::{
    clock::TestClock,
    fault_server::{FaultServer, Reply},
    http::HttpOptions,
    model::time::Timestamp,
};

const ROUTE: &str = "/plugins/session-status/status";
const TOKEN: &str = "t0p-s3cret";

fn endpoint(server: &FaultServer, token: Option<&str>, pointer: Option<&str>) -> StatusEndpoint {
    let options = StatusOptions {
        url: Url::parse(&server.url(ROUTE)).expect("a URL"),
        token: token.map(Secret::new),
        pointer: pointer.map(|pointer| pointer.parse().expect("a pointer")),
        timeout: Duration::from_secs(20),
    };
    let clock = Arc::new(TestClock::starting_at(Timestamp::EPOCH));
    StatusEndpoint::new(HttpClient::new(&HttpOptions::default()), clock, options)
}

async fn ask(reply: Reply) -> Result<Free, AvailabilityError> {
    let server = FaultServer::start([reply]).await;
    endpoint(&server, Some(TOKEN), None).free().await
}

/// The error, without the place.
async fn error(reply: Reply) -> (AvailabilityErrorKind, String) {
    let error = ask(reply).await.expect_err("an error");
    assert!(!error.message.contains(TOKEN) && !error.message.contains('\n'), "{error:?}");
    let (place, what) = error.message.split_once(": ").expect("a place");
    assert!(place.starts_with("http://127.0.0.1:"), "{place}");
    (error.kind, what.to_owned())
}

#[actix_rt::test]
async fn free_slots_are_read_with_the_token_and_on_one_connection() {
    let server = FaultServer::start([Reply::json(r#"{"available": 3}"#), Reply::json(r#"{"status": "busy"}"#)]).await;
    let endpoint = endpoint(&server, Some(TOKEN), None);
    assert_eq!(endpoint.free().await, Ok(Free::Slots(3)));
    assert_eq!(endpoint.free().await, Ok(Free::Room(false)));
    for request in server.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", ROUTE));
        assert_eq!(request.header("authorization"), Some("Bearer t0p-s3cret"));
    }
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn without_a_token_none_is_sent() {
    let server = FaultServer::start([Reply::json(r#"{"idle": true}"#), Reply::new(401, &[], "")]).await;
    let endpoint = endpoint(&server, None, None);
    assert_eq!(endpoint.free().await, Ok(Free::Room(true)));
    assert_eq!(server.requests()[0].header("authorization"), None);
    let error = endpoint.free().await.expect_err("an error");
    assert_eq!(error.message, format!("{}: it answered 401 Unauthorized: set oc.statusToken", server.url("")));
}

#[actix_rt::test]
async fn a_pointer_says_where_to_look() {
    let server = FaultServer::start([Reply::json(r#"{"a": {"b": 2}, "available": 9}"#)]).await;
    assert_eq!(endpoint(&server, None, Some("/a/b")).free().await, Ok(Free::Slots(2)));
    let error = endpoint(&server, None, Some("/c")).free().await.expect_err("an error");
    assert_eq!(error.kind, AvailabilityErrorKind::NotUnderstood);
}

#[actix_rt::test]
async fn anything_else_is_not_available_and_says_why() {
    use AvailabilityErrorKind::{NotFound, NotJson, NotUnderstood, RateLimited, Server, Transport, Unauthorized};
    let lacks = "it answered 404 Not Found: OpenClaw lacks the plugin with this route, or oc.statusEndpoint is wrong";
    let web_ui = "it answered text/html, not JSON, as OpenClaw does where it has no route; check oc.statusEndpoint";
    for (reply, kind, message) in [
        (
            Reply::new(401, &[], r#"{"error":{"message":"Unauthorized","type":"unauthorized"}}"#),
            Unauthorized,
            "it answered 401 Unauthorized (Unauthorized): the token was refused; check oc.statusToken",
        ),
        (
            Reply::new(403, &[], ""),
            Unauthorized,
            "it answered 403 Forbidden: the token was refused; check oc.statusToken",
        ),
        (Reply::new(404, &[], "Not Found"), NotFound, lacks),
        (Reply::new(429, &[], ""), RateLimited, "it answered 429 Too Many Requests"),
        (Reply::new(503, &[], "starting"), Server, "it answered 503 Service Unavailable"),
        (Reply::new(302, &[], ""), Transport, "redirected without saying where to"),
        (Reply::new(200, &[("content-type", "text/html")], "<!doctype html>"), NotJson, web_ui),
        (
            Reply::json("{\"available\": 3"),
            NotJson,
            "the answer is not JSON: EOF while parsing an object at line 1 column 15",
        ),
        (Reply::new(200, &[], ""), NotJson, "the answer is not JSON: EOF while parsing a value at line 1 column 0"),
        (Reply::bomb(20_000_000), NotJson, "the answer is larger than 1048576 bytes"),
        (Reply::endless(), NotJson, "the answer is larger than 1048576 bytes"),
        (Reply::reset(), Transport, "connection reset"),
        (Reply::announcing(2, "3"), Transport, "the answer was cut off"),
    ] {
        assert_eq!(error(reply).await, (kind, message.to_owned()));
    }
    assert_eq!(error(Reply::json("{\"free\": 3}")).await.0, NotUnderstood);
}

#[actix_rt::test]
async fn retry_after_is_passed_on() {
    for (status, value, wait) in [(503, "1", Some(1)), (429, "20", Some(20)), (503, "x", None)] {
        let error = ask(Reply::new(status, &[("retry-after", value)], "")).await.expect_err("an error");
        assert_eq!(error.retry_after, wait.map(Duration::from_secs));
    }
}

#[actix_rt::test]
async fn a_gateway_that_hangs_is_not_available() {
    let server = FaultServer::start([Reply::hang()]).await;
    let mut endpoint = endpoint(&server, None, None);
    endpoint.options.timeout = Duration::from_millis(300);
    let error = endpoint.free().await.expect_err("too late");
    assert_eq!(error.kind, AvailabilityErrorKind::Timeout);
    assert_eq!(error.message, format!("{}: no complete answer within 0.3s", server.url("")));
}
