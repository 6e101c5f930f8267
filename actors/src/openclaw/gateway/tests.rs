//! The client against a stand-in for the gateway, over real sockets.

use std::net::TcpListener;

use futures_util::join;
use serde_json::json;

use super::*;
use crate::{
    clock::SystemClock,
    fault_server::{FaultServer, Reply},
    gateway_server::{Act, GatewayServer, Greeting, frame},
    http::HttpOptions,
};

const TOKEN: &str = "t0p-s3cret";
const LIMIT: Duration = Duration::from_secs(10);

fn options(url: Url) -> GatewayOptions {
    GatewayOptions::new(url, Secret::new(TOKEN))
}

fn with(options: GatewayOptions) -> Gateway {
    Gateway::new(HttpClient::new(&HttpOptions::default()), Arc::new(SystemClock::new()), options)
}

async fn echo() -> GatewayServer {
    GatewayServer::start(TOKEN, |method, params| match method {
        "echo" => Act::Answer(params.clone()),
        "slow" => Act::After(Duration::from_millis(200), Box::new(Act::Answer(params.clone()))),
        "hang" => Act::Ignore,
        "close" => Act::Close(1000, "bye"),
        "restart" => Act::Close(1012, "service restart"),
        "cut" => Act::Cut,
        _ => Act::Refuse(json!({"code": "INVALID_REQUEST", "message": "unknown\nmethod t0p-s3cret"})),
    })
    .await
}

async fn call(gateway: &Gateway, method: &str) -> Result<Value, GatewayError> {
    gateway.call(method, json!({}), LIMIT).await
}

/// Calls until it succeeds, 20 s at most.
async fn recovered(gateway: &Gateway) {
    for _ in 0..400 {
        if call(gateway, "echo").await.is_ok() {
            return;
        }
        actix_rt::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never recovered");
}

/// Waits until so many connections of the server are open, 10 s at most.
async fn open(server: &GatewayServer, count: usize) {
    for _ in 0..1000 {
        if server.connections().1 == count {
            return;
        }
        actix_rt::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections are open, not {count}", server.connections().1);
}

fn checked(error: &GatewayError) {
    let message = &error.message;
    assert!(message.starts_with("ws://127.0.0.1:"), "it names the place: {message}");
    assert!(!message.contains(TOKEN) && !message.contains('\n'), "{message}");
}

#[actix_rt::test]
async fn a_call_shakes_hands_first_and_gets_its_own_answer() {
    let server = echo().await;
    for scheme in ["ws", "http"] {
        let gateway = with(options(server.url(scheme)));
        assert_eq!(gateway.version(), None);
        let params = json!({"n": 123_456_789_012_345_678_901_u128, "text": "任务"});
        assert_eq!(gateway.call("echo", params.clone(), LIMIT).await, Ok(params));
        assert_eq!(gateway.version().as_deref(), Some("2026.9.6"));
    }
}

#[actix_rt::test]
async fn nothing_is_opened_before_the_first_call_and_one_connection_serves_all() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    assert_eq!(server.connections(), (0, 0));
    let clone = gateway.clone();
    let (a, b) = join!(call(&gateway, "echo"), call(&clone, "echo"));
    assert!(a.is_ok() && b.is_ok() && call(&gateway, "echo").await.is_ok());
    assert_eq!(server.connections(), (1, 1));
}

#[actix_rt::test]
async fn concurrent_calls_do_not_wait_for_each_other_nor_mix_their_answers() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    let slow = gateway.call("slow", json!("slow"), LIMIT);
    let hang = gateway.call("hang", json!({}), Duration::from_millis(500));
    let quick = async {
        for n in 0..50 {
            assert_eq!(gateway.call("echo", json!(n), LIMIT).await, Ok(json!(n)));
        }
        gateway.now()
    };
    let slow = async { (slow.await, gateway.now()) };
    let ((slow, slow_at), hang, quick_at) = join!(slow, hang, quick);
    assert_eq!(slow, Ok(json!("slow")));
    assert!(quick_at < slow_at);
    assert_eq!(hang.expect_err("no answer").kind, GatewayErrorKind::Timeout);
    assert_eq!(server.connections(), (1, 1));
}

#[actix_rt::test]
async fn a_call_that_gets_no_answer_ends_in_time_and_may_have_arrived() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    let error = gateway.call("hang", json!({}), Duration::from_millis(200)).await.expect_err("no answer");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Timeout, true), "{}", error.message);
    assert!(call(&gateway, "echo").await.is_ok(), "the connection is still good");
}

#[actix_rt::test]
async fn a_call_that_was_dropped_leaves_nothing_behind() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    for _ in 0..100 {
        let _ = gateway.call("slow", json!({}), Duration::from_millis(1)).await;
    }
    assert!(call(&gateway, "echo").await.is_ok());
    let written = server.calls().len();
    assert!(written <= 101, "{written}");
    assert_eq!(server.connections(), (1, 1));
}

#[actix_rt::test]
async fn a_wrong_token_is_told_apart_and_not_tried_again_at_once() {
    let server = echo().await;
    let wrong = GatewayOptions { token: Secret::new("wr0ng"), ..options(server.url("ws")) };
    let gateway = with(wrong);
    let first = call(&gateway, "echo").await.expect_err("refused");
    assert_eq!((&first.kind, first.sent), (&GatewayErrorKind::Unauthorized, false));
    assert!(first.message.contains("gateway.auth.token") && !first.message.contains("wr0ng"), "{first}");
    let again = call(&gateway, "echo").await.expect_err("refused");
    assert_eq!((again.kind, &again.message), (GatewayErrorKind::Unauthorized, &first.message));
    assert!(again.retry_after.is_some_and(|left| left > Duration::from_secs(30)));
    assert_eq!(server.connections().0, 1, "it was not asked a second time");
}

#[actix_rt::test]
async fn a_wrong_protocol_is_told_apart() {
    let server = echo().await;
    server.expect_protocol(5);
    let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("refused");
    checked(&error);
    assert_eq!(error.kind, GatewayErrorKind::ProtocolMismatch, "{error}");
}

#[actix_rt::test]
async fn a_gateway_that_starts_is_told_apart_from_one_that_is_down() {
    let server = echo().await;
    server.greet(Greeting::Starting);
    let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("starting");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Starting, false));

    server.greet(Greeting::Http("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n"));
    let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("starting");
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Starting, false));

    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address");
    let url = format!("ws://{free}").parse().expect("a URL");
    let error = call(&with(options(url)), "echo").await.expect_err("down");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Down, false));
    assert!(error.message.ends_with("connection refused"), "{}", error.message);
}

#[actix_rt::test]
async fn something_else_that_listens_there_is_no_gateway() {
    let web = FaultServer::start([Reply::new(200, &[("content-type", "text/html")], "<html>")]).await;
    let url = web.url("/").replace("http://", "ws://").parse().expect("a URL");
    let error = call(&with(options(url)), "echo").await.expect_err("no gateway");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Down, false), "{}", error.message);
    assert!(error.message.contains("check the URL"), "{}", error.message);

    let server = echo().await;
    for text in ["hello", "{}", r#"{"type":7}"#] {
        server.greet(Greeting::Text(text));
        let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("no gateway");
        assert_eq!((error.kind, error.sent), (GatewayErrorKind::Garbage, false), "{text}");
    }
}

#[actix_rt::test]
async fn a_gateway_that_never_greets_is_given_up() {
    let server = echo().await;
    server.greet(Greeting::Silent);
    let gateway = with(GatewayOptions { connect_timeout: Duration::from_millis(300), ..options(server.url("ws")) });
    let error = call(&gateway, "echo").await.expect_err("silence");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Timeout, false), "{}", error.message);
    open(&server, 0).await;
    // A caller with less patience than that.
    let gateway = with(options(server.url("ws")));
    let error = gateway.call("echo", json!({}), Duration::from_millis(100)).await.expect_err("silence");
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Timeout, false));
}

#[actix_rt::test]
async fn an_error_is_the_answer_to_one_call_and_no_more() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    let error = call(&gateway, "nonsense").await.expect_err("refused");
    checked(&error);
    let GatewayErrorKind::Refused(refusal) = &error.kind else { panic!("{error:?}") };
    assert_eq!((refusal.code.as_str(), error.sent), ("INVALID_REQUEST", true));
    assert!(error.message.ends_with("it answered INVALID_REQUEST (unknown\\nmethod …)"), "{}", error.message);
    assert!(call(&gateway, "echo").await.is_ok());
    assert_eq!(server.connections(), (1, 1));
}

#[actix_rt::test]
async fn a_connection_that_ends_fails_every_call_on_it_and_is_opened_anew() {
    for (method, kind) in [
        ("close", GatewayErrorKind::Closed),
        ("cut", GatewayErrorKind::Closed),
        ("restart", GatewayErrorKind::Starting),
    ] {
        let server = echo().await;
        let gateway = with(options(server.url("ws")));
        let (hang, ended) = join!(call(&gateway, "hang"), call(&gateway, method));
        for error in [hang, ended].map(|result| result.expect_err("closed")) {
            checked(&error);
            assert_eq!((&error.kind, error.sent), (&kind, true), "{}", error.message);
        }
        let error = call(&gateway, "echo").await.expect_err("too early");
        assert_eq!((error.kind, error.sent), (kind, false));
        recovered(&gateway).await;
        assert_eq!(server.connections().0, 2, "it was dialled once after the backoff");
    }
}

#[actix_rt::test]
async fn a_gateway_that_restarts_is_found_again() {
    let server = echo().await;
    let (url, address) = (server.url("ws"), server.address());
    let gateway = with(options(url));
    assert!(call(&gateway, "echo").await.is_ok());
    drop(server);
    let error = call(&gateway, "hang").await.expect_err("gone");
    assert_eq!(error.kind, GatewayErrorKind::Closed);
    let server = GatewayServer::start_at(address, TOKEN, |_, params| Act::Answer(params.clone())).await;
    recovered(&gateway).await;
    assert_eq!(server.connections().0, 1);
}

#[actix_rt::test]
async fn garbage_ends_the_connection_and_is_said_so() {
    let long = frame(0x81, &[b' '; 10])[..2].iter().copied().chain([0xff; 10]).collect::<Vec<_>>();
    for raw in [
        frame(0x81, b"no JSON"),
        frame(0x81, b"\xff\xfe"),
        frame(0x82, b"{}"),
        frame(0x80, b"a part of nothing"),
        frame(0xf1, b"{}"),
        frame(0x83, b"{}"),
        long,
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let server = GatewayServer::start(TOKEN, {
            let raw = raw.clone();
            move |_, _| Act::Raw(raw.clone())
        })
        .await;
        let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("garbage");
        checked(&error);
        assert_eq!((error.kind, error.sent), (GatewayErrorKind::Garbage, true), "{raw:?}");
        open(&server, 0).await;
    }
}

#[actix_rt::test]
async fn a_message_that_is_too_large_is_not_taken() {
    let announced = [&[0x81, 127][..], &(link::MAX_MESSAGE as u64 + 1).to_be_bytes()].concat();
    let part = frame(0x01, &vec![b' '; link::MAX_MESSAGE / 2 + 1]);
    let parts = [part.clone(), [vec![0x00], part[1..].to_vec()].concat()].concat();
    for raw in [announced, parts] {
        let server = GatewayServer::start(TOKEN, move |_, _| Act::Raw(raw.clone())).await;
        let error = call(&with(options(server.url("ws"))), "echo").await.expect_err("too large");
        assert_eq!(error.kind, GatewayErrorKind::Garbage);
        assert!(error.message.ends_with("too large"), "{}", error.message);
    }
}

#[actix_rt::test]
async fn a_large_answer_and_one_in_parts_are_taken() {
    let text = json!({"type": "res", "id": "2", "ok": true, "payload": "x".repeat(1_000_000)}).to_string();
    let (a, b) = text.as_bytes().split_at(500_000);
    let ping = frame(0x89, b"in between");
    for raw in [frame(0x81, text.as_bytes()), [frame(0x01, a), ping, frame(0x80, b)].concat()] {
        let server = GatewayServer::start(TOKEN, move |_, _| Act::Raw(raw.clone())).await;
        let answer = call(&with(options(server.url("ws"))), "echo").await.expect("an answer");
        assert_eq!(answer.as_str().map(str::len), Some(1_000_000));
    }
}

#[actix_rt::test]
async fn an_idle_connection_is_kept_by_pings() {
    let server = echo().await;
    let quick = Duration::from_millis(50);
    let gateway = with(GatewayOptions { ping_after: quick, ..options(server.url("ws")) });
    assert!(call(&gateway, "echo").await.is_ok());
    for _ in 0..400 {
        if server.pings() >= 3 {
            break;
        }
        actix_rt::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(server.pings() >= 3, "it pings");
    assert!(call(&gateway, "echo").await.is_ok());
    assert_eq!(server.connections(), (1, 1));
}

#[actix_rt::test]
async fn a_dead_peer_is_found_even_while_calls_are_made() {
    let server = echo().await;
    let quick = Duration::from_millis(100);
    let gateway = with(GatewayOptions { ping_after: quick, pong_within: quick, ..options(server.url("ws")) });
    assert!(call(&gateway, "echo").await.is_ok());
    server.ignore_pings();
    server.mute();
    let begin = gateway.now();
    let error = call(&gateway, "hang").await.expect_err("dead");
    checked(&error);
    assert_eq!((error.kind, error.sent), (GatewayErrorKind::Closed, true), "{}", error.message);
    assert!(error.message.contains("dead"), "{}", error.message);
    assert!(gateway.now() - begin < Duration::from_secs(5));
    open(&server, 0).await;
}

#[actix_rt::test]
async fn the_connection_ends_with_the_last_client() {
    let server = echo().await;
    let gateway = with(options(server.url("ws")));
    let other = gateway.clone();
    assert!(call(&gateway, "echo").await.is_ok());
    drop(gateway);
    assert!(call(&other, "echo").await.is_ok());
    open(&server, 1).await;
    drop(other);
    open(&server, 0).await;
}

#[actix_rt::test]
async fn users_of_one_gateway_share_it_and_others_do_not() {
    let server = echo().await;
    let share =
        |options| Gateway::shared(HttpClient::new(&HttpOptions::default()), Arc::new(SystemClock::new()), options);
    let (a, b) = (share(options(server.url("ws"))), share(options(server.url("ws"))));
    let other = share(GatewayOptions { token: Secret::new("other"), ..options(server.url("ws")) });
    assert!(call(&a, "echo").await.is_ok() && call(&b, "echo").await.is_ok());
    assert_eq!(server.connections(), (1, 1));
    assert_eq!(call(&other, "echo").await.expect_err("refused").kind, GatewayErrorKind::Unauthorized);
    drop((a, b));
    open(&server, 0).await;
    assert!(call(&share(options(server.url("ws"))), "echo").await.is_ok(), "a new one after the last is gone");
}
