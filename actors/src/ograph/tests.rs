//! OGraph as it answers, and as it fails.

use serde_json::json;

use super::*;
use crate::{
    clock::TestClock,
    fault_server::{FaultServer, Reply},
    http::HttpOptions,
    model::{
        time::Timestamp,
        value::{Digest, body_hash},
    },
};

const TOKEN: &str = "t0p-s3cret";

fn source(endpoint: &str) -> OGraphSource {
    let options = OGraphOptions {
        endpoint: Url::parse(endpoint).expect("a URL"),
        token: Secret::new(TOKEN),
        timeout: Duration::from_secs(20),
        max_body: 10_000,
    };
    // Sun, 06 Nov 1994 08:49:37 GMT
    let clock = Arc::new(TestClock::starting_at(Timestamp::from_millis(784_111_777_000)));
    OGraphSource::new(HttpClient::new(&HttpOptions::default()), clock, options)
}

fn projection(text: &str) -> Projection {
    text.parse().expect("a projection")
}

fn at(pointer: &str) -> Projection {
    Projection { value_pointer: Some(pointer.parse().expect("a pointer")), ..projection("tasks") }
}

fn nothing() -> Validators {
    Validators::default()
}

/// What a poll of `projection` says if OGraph answers `reply`.
async fn poll(projection: &Projection, reply: Reply) -> Result<Observation, SourceError> {
    let server = FaultServer::start([reply]).await;
    let outcome = source(&server.url("/")).observe(projection, &nothing()).await;
    if let Err(error) = &outcome {
        let origin = format!("{}: ", server.url(""));
        assert!(error.message.starts_with(&origin), "{error} names its place");
        assert!(!error.message.contains(TOKEN) && !error.message.contains('\n'), "{error:?}");
    }
    outcome
}

async fn value(reply: Reply) -> Value {
    match poll(&projection("tasks"), reply).await.expect("an observation") {
        Observation::Present { value, .. } => value,
        other => panic!("{other:?}"),
    }
}

/// The error of a poll, without the place.
async fn error(reply: Reply) -> (SourceErrorKind, String) {
    error_of(&projection("tasks"), reply).await
}

async fn error_of(projection: &Projection, reply: Reply) -> (SourceErrorKind, String) {
    let error = poll(projection, reply).await.expect_err("an error");
    let (_, what) = error.message.split_once(": ").expect("a place");
    (error.kind, what.to_owned())
}

#[actix_rt::test]
async fn a_projection_is_asked_for_with_token_parameters_and_base_path() {
    for base in ["/api/v2", "/api/v2/"] {
        let server = FaultServer::start([Reply::json(r#"{"value": 1}"#)]).await;
        let source = source(&server.url(base));
        source.observe(&projection("task?b=x y&a=1"), &nothing()).await.expect("an observation");
        let [request] = &server.requests()[..] else { panic!("one request") };
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/api/v2/projections/task?a=1&b=x%20y"));
        assert_eq!(request.header("authorization"), Some("Bearer t0p-s3cret"));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("if-none-match"), None);
    }
}

#[actix_rt::test]
async fn a_name_is_one_segment_whatever_it_contains() {
    let server = FaultServer::start([Reply::json("1")]).await;
    let source = source(&server.url("/"));
    for (name, target) in [
        ("a/b", "/projections/a%2Fb"),
        ("../admin", "/projections/..%2Fadmin"),
        ("50%", "/projections/50%25"),
        ("%2e%2e", "/projections/%252e%252e"),
        ("任务 1", "/projections/%E4%BB%BB%E5%8A%A1%201"),
        ("a#b", "/projections/a%23b"),
        ("a\\b", "/projections/a%5Cb"),
    ] {
        let projection = Projection::new(name, [("q".to_owned(), "&#=%/".to_owned())].into()).expect("a projection");
        source.observe(&projection, &nothing()).await.expect("an observation");
        let asked = server.requests().last().expect("a request").target.clone();
        assert_eq!(asked, format!("{target}?q=%26%23%3D%25/"), "{name}");
    }
}

#[actix_rt::test]
async fn a_value_is_taken_out_of_its_envelope() {
    assert_eq!(value(Reply::json(r#"{"name":"t","value":[1,2],"last_event_id":7}"#)).await, json!([1, 2]));
    assert_eq!(value(Reply::json("[1]")).await, json!([1]));
    assert_eq!(value(Reply::json("null")).await, Value::Null);
    assert_eq!(value(Reply::new(200, &[("content-type", "text/plain")], "7")).await, json!(7));
    assert_eq!(value(Reply::gzip(r#"{"value":"zip"}"#)).await, json!("zip"));
    assert_eq!(value(Reply::new(201, &[], "\u{feff}1")).await, json!(1));
    assert_eq!(value(Reply::json(r#"{"error":"in a larger object","x":1}"#)).await["x"], json!(1));
    let big = "123456789012345678901234567890.10";
    assert_eq!(value(Reply::json(big)).await.to_string(), big);
}

#[actix_rt::test]
async fn a_pointer_overrides_the_rule() {
    let observed = poll(&at("/a/0"), Reply::json(r#"{"value":1,"a":[2]}"#)).await.expect("an observation");
    assert!(matches!(observed, Observation::Present { value, .. } if value == json!(2)));
    let observed = poll(&at(""), Reply::json(r#"{"error":1}"#)).await.expect("an observation");
    assert!(matches!(observed, Observation::Present { value, .. } if value == json!({"error": 1})));
    let (kind, message) = error_of(&at("/a/1"), Reply::json(r#"{"a":[2]}"#)).await;
    assert_eq!(kind, SourceErrorKind::NotJson);
    assert_eq!(message, "the valuePointer \"/a/1\" leads nowhere in the answer");
}

#[actix_rt::test]
async fn an_unchanged_answer_is_recognised_by_etag_or_by_its_bytes() {
    let script = [
        Reply::new(200, &[("etag", "W/\"1\"")], "{\"value\":1}"),
        Reply::raw("HTTP/1.1 304 Not Modified\r\netag: W/\"1\"\r\n\r\n"),
        Reply::new(200, &[("etag", "W/\"2\"")], "{\"value\":1}"),
        Reply::new(200, &[], "{\"value\": 1}"),
    ];
    let server = FaultServer::start(script).await;
    let source = source(&server.url("/"));
    let tasks = projection("tasks");
    let first = source.observe(&tasks, &nothing()).await.expect("an observation");
    let Observation::Present { value, validators } = first else { panic!("{first:?}") };
    assert_eq!((value, validators.etag.as_deref()), (json!(1), Some("W/\"1\"")));
    assert_eq!(validators.body_hash, Some(body_hash(b"{\"value\":1}")));

    assert_eq!(source.observe(&tasks, &validators).await, Ok(Observation::Unchanged));
    assert_eq!(source.observe(&tasks, &validators).await, Ok(Observation::Unchanged));
    let again = source.observe(&tasks, &validators).await.expect("an observation");
    assert!(
        matches!(again, Observation::Present { value, validators } if value == json!(1) && validators.etag.is_none())
    );
    let asked: Vec<_> = server.requests().iter().map(|r| r.header("if-none-match").map(str::to_owned)).collect();
    let etag = Some("W/\"1\"".to_owned());
    assert_eq!(asked, [None, etag.clone(), etag.clone(), etag]);
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn what_was_never_parsed_is_still_recognised() {
    // Unchanged bytes are not looked at: not even whether they are JSON.
    let server = FaultServer::start([Reply::json("<html>")]).await;
    let known = Validators { etag: None, body_hash: Some(body_hash(b"<html>")) };
    assert_eq!(source(&server.url("/")).observe(&projection("t"), &known).await, Ok(Observation::Unchanged));
    let known = Validators { etag: None, body_hash: Some(Digest::of(&json!(1))) };
    assert!(source(&server.url("/")).observe(&projection("t"), &known).await.is_err());
}

#[actix_rt::test]
async fn a_304_that_nobody_asked_for_is_an_error() {
    let (kind, message) = error(Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n")).await;
    assert_eq!((kind, message.as_str()), (SourceErrorKind::Server, "it answered 304 Not Modified"));
}

#[actix_rt::test]
async fn only_ograph_itself_can_say_that_a_projection_is_gone() {
    let gone = Reply::new(404, &[], r#"{"error":{"message":"no such projection"}}"#);
    assert_eq!(poll(&projection("tasks"), gone).await, Ok(Observation::Absent));
    for body in ["<html>Not Found</html>", "", "404", "null", "\"Not Found\"", "not found"] {
        let (kind, message) = error(Reply::new(404, &[("content-type", "application/json")], body)).await;
        assert_eq!(kind, SourceErrorKind::NotJson, "{body}");
        assert_eq!(message, "it answered 404 Not Found without OGraph's JSON; is ograph.endpoint right?");
    }
}

#[actix_rt::test]
async fn refusals_have_their_kind_and_words() {
    use SourceErrorKind::{RateLimited, Server, Unauthorized};
    for (reply, kind, message) in [
        (
            Reply::new(401, &[], r#"{"error":{"message":"Unauthorized"}}"#),
            Unauthorized,
            "it answered 401 Unauthorized (Unauthorized): the token was refused; check ograph.token",
        ),
        (
            Reply::new(403, &[], r#"{"error":{"message":"bad token t0p-s3cret"}}"#),
            Unauthorized,
            "it answered 403 Forbidden (bad token …): the token was refused; check ograph.token",
        ),
        (Reply::new(429, &[], ""), RateLimited, "it answered 429 Too Many Requests"),
        (Reply::new(500, &[], "{\"message\":\"a\\nb\"}"), Server, "it answered 500 Internal Server Error (a\\nb)"),
        (Reply::new(502, &[], "<html>bad gateway</html>"), Server, "it answered 502 Bad Gateway"),
        (Reply::new(400, &[], r#"{"error":"no param"}"#), Server, "it answered 400 Bad Request (no param)"),
        (
            Reply::json(r#"{"error":{"message":"still computing"}}"#),
            Server,
            "it answered 200 OK (still computing) with an error instead of a value",
        ),
        (Reply::new(206, &[], "[1"), Server, "it answered 206 Partial Content, which is not the whole projection"),
        (Reply::new(202, &[], "{}"), Server, "it answered 202 Accepted, which is not the whole projection"),
    ] {
        assert_eq!(error(reply).await, (kind, message.to_owned()));
    }
}

#[actix_rt::test]
async fn what_is_not_json_is_never_a_value() {
    for (reply, message) in [
        (Reply::new(200, &[], ""), "it answered 200 OK without a body"),
        (Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"), "it answered 204 No Content without a body"),
        (
            Reply::new(200, &[("content-type", "text/html")], "<!doctype html><title>Log in</title>"),
            "it answered text/html, not JSON: a captive portal or a wrong endpoint?",
        ),
        (Reply::json("{\"value\": 1"), "the answer is not JSON: EOF while parsing an object at line 1 column 11"),
        (Reply::json("{} {}"), "the answer is not JSON: trailing characters at line 1 column 4"),
        (Reply::new(200, &[], b"\"caf\xe9\""), "the answer is not JSON: invalid unicode code point at line 1 column 5"),
        (Reply::new(200, &[], b"\xff\xfe1\0"), "the answer is not JSON: expected value at line 1 column 1"),
        (Reply::json(&"[".repeat(5_000)), "the answer is not JSON: recursion limit exceeded at line 1 column 128"),
        (Reply::gzip("").close(), "it answered 200 OK without a body"),
    ] {
        assert_eq!(error(reply).await, (SourceErrorKind::NotJson, message.to_owned()));
    }
}

#[actix_rt::test]
async fn every_fault_of_the_line_is_an_error() {
    use SourceErrorKind::{NotJson, Redirect, TooLarge, Transport};
    let large = "the answer is larger than 10000 bytes; ograph.maxBodyBytes is the limit";
    for (reply, kind, message) in [
        (Reply::endless(), TooLarge, large),
        (Reply::bomb(20_000_000), TooLarge, large),
        (Reply::reset(), Transport, "connection reset"),
        // Each of these is valid JSON as far as it came.
        (Reply::announcing(2, "1"), Transport, "the answer was cut off"),
        (Reply::chunks_without_end(&["1", "2"]).close(), Transport, "the answer was cut off"),
        (
            Reply::new(200, &[("content-encoding", "gzip")], "[1,2,3,4,5,6]"),
            NotJson,
            "the answer is not the gzip that it claims to be",
        ),
        (Reply::redirect(302, "/projections/tasks"), Redirect, "more than 10 redirects in a row"),
    ] {
        assert_eq!(error(reply).await, (kind, message.to_owned()));
    }
}

#[actix_rt::test]
async fn a_poll_ends_in_time() {
    for reply in [Reply::hang(), Reply::drip(Duration::from_millis(1)), Reply::json("1").after(Duration::from_secs(60))]
    {
        let server = FaultServer::start([reply]).await;
        let mut source = source(&server.url("/"));
        source.options.timeout = Duration::from_millis(300);
        let error = source.observe(&projection("t"), &nothing()).await.expect_err("too late");
        assert_eq!(error.kind, SourceErrorKind::Timeout);
        assert_eq!(error.message, format!("{}: no complete answer within 0.3s", server.url("")));
    }
}

#[actix_rt::test]
async fn retry_after_is_passed_on_in_both_forms() {
    let waits = async |status, value| {
        let error =
            poll(&projection("t"), Reply::new(status, &[("retry-after", value)], "")).await.expect_err("an error");
        error.retry_after
    };
    assert_eq!(waits(429, "7").await, Some(Duration::from_secs(7)));
    assert_eq!(waits(401, "60").await, Some(Duration::from_secs(60)));
    assert_eq!(waits(500, "soon").await, None);
    let two_minutes = waits(503, "Sun, 06 Nov 1994 08:51:37 GMT").await.expect("a wait");
    assert!((100..=120).contains(&two_minutes.as_secs()), "{two_minutes:?}");
}

#[actix_rt::test]
async fn the_token_never_reaches_another_origin() {
    let foreign = FaultServer::start([Reply::json("1")]).await;
    let home = FaultServer::start([Reply::redirect(302, &foreign.url("/x"))]).await;
    source(&home.url("/")).observe(&projection("t"), &nothing()).await.expect("an observation");
    let [request] = &foreign.requests()[..] else { panic!("one request") };
    assert!(request.headers.iter().all(|(_, value)| !value.contains(TOKEN)), "{request:?}");
}

#[actix_rt::test]
async fn a_token_that_fits_no_header_is_an_error_that_does_not_show_it() {
    let mut source = source("http://localhost/");
    source.authorization = Secret::new("Bearer two\nlines");
    let error = source.observe(&projection("t"), &nothing()).await.expect_err("an error");
    assert_eq!(error.kind, SourceErrorKind::Internal);
    assert_eq!(error.message, "http://localhost: a header's value contains a line break or the like");
}
