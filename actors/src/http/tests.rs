//! The client against servers that misbehave.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use url::Url;

use super::*;
use crate::fault_server::{FaultServer, Reply, gzip};

mod over_http2;
mod over_tls;
mod through_a_proxy;
mod tls_server;

const SOON: Duration = Duration::from_millis(300);
const PLENTY: Duration = Duration::from_secs(20);

fn client() -> HttpClient {
    HttpClient::new(&HttpOptions::default())
}

fn url(text: impl AsRef<str>) -> Url {
    Url::parse(text.as_ref()).expect("a URL")
}

/// A URL where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("a bound address"))
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PLENTY, holds).await.expect("the condition holds in time");
}

async fn get(client: &HttpClient, target: &str) -> Result<Answer, HttpError> {
    client.send(Request { timeout: PLENTY, ..Request::get(&url(target)) }).await
}

/// The kind and message of the error that a server with this reply causes within `timeout`.
async fn failure(reply: Reply, timeout: Duration) -> (HttpErrorKind, String) {
    let server = FaultServer::start([reply]).await;
    let target = url(server.url("/"));
    let request = Request { timeout, max_body: 10_000, ..Request::get(&target) };
    let error = client().send(request).await.expect_err("an error");
    assert!(error.sent, "{error:?}");
    (error.kind, error.message)
}

#[actix_rt::test]
async fn an_answer_arrives_whole() {
    let headers = [("etag", "\"1\""), ("retry-after", "7"), ("content-type", "text/plain")];
    let server = FaultServer::start([Reply::new(418, &headers, "short and stout")]).await;
    let target = url(server.url("/tea?pot=1#spout"));
    let request = Request { headers: &[("x-test", "yes")], ..Request::get(&target) };
    let answer = client().send(request).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (418, &b"short and stout"[..]));
    assert_eq!(answer.etag.as_deref(), Some("\"1\""));
    assert_eq!(answer.retry_after.as_deref(), Some("7"));
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/tea?pot=1"));
    assert_eq!(request.header("x-test"), Some("yes"));
    assert_eq!(request.header("accept-encoding"), Some("gzip"));
    assert_eq!(request.header("user-agent"), Some(USER_AGENT));
    assert_eq!(request.header("content-length"), None);
    assert_eq!(request.header("authorization"), None);
}

#[actix_rt::test]
async fn a_post_carries_its_body_once_and_takes_a_redirect_for_an_answer() {
    let server = FaultServer::start([Reply::redirect(307, "/elsewhere")]).await;
    let target = url(server.url("/"));
    let request = Request { redirects: true, ..Request::post(&target, b"{}".to_vec()) };
    let answer = client().send(request).await.expect("an answer");
    assert_eq!((answer.status, answer.location.as_deref()), (307, Some("/elsewhere")));
    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"{}"[..]));
}

#[actix_rt::test]
async fn every_fault_is_an_error_in_words_and_in_time() {
    use HttpErrorKind::{Encoding, Timeout, TooLarge, Transport};
    let late = "no complete answer within 0.3s";
    let large = "the answer is larger than 10000 bytes";
    for (name, reply, kind, message) in [
        ("hang", Reply::hang(), Timeout, late),
        ("hang in the head", Reply::raw("HTTP/1.1 200 OK\r\ncontent-le").then_hang(), Timeout, late),
        ("hang in the body", Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1").then_hang(), Timeout, late),
        ("drip", Reply::drip(Duration::from_millis(1)), Timeout, late),
        ("endless", Reply::endless(), TooLarge, large),
        ("too long", Reply::new(200, &[], vec![b'1'; 10_001]), TooLarge, large),
        ("bomb", Reply::bomb(20_000_000), TooLarge, large),
        ("reset", Reply::reset(), Transport, "connection reset"),
        ("close", Reply::raw("").close(), Transport, "the connection was closed before an answer came"),
        ("half a head", Reply::raw("HTTP/1.1 200 OK\r\nconten").close(), Transport, "the answer was cut off"),
        ("truncated", Reply::announcing(9, "123"), Transport, "the answer was cut off"),
        ("chunks without end", Reply::chunks_without_end(&["12", "34"]).close(), Transport, "the answer was cut off"),
        ("reset in the body", Reply::chunks_without_end(&["12", "34"]).then_reset(), Transport, "connection reset"),
        (
            "truncated gzip",
            Reply::new(200, &[("content-encoding", "gzip")], &gzip(b"123456")[..15]),
            Transport,
            "the answer was cut off",
        ),
        (
            "garbage",
            Reply::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
            Transport,
            "not an HTTP answer: invalid HTTP version specified",
        ),
        (
            "not gzip",
            Reply::new(200, &[("content-encoding", "gzip")], "{\"plain\": true}"),
            Encoding,
            "the answer is not the gzip that it claims to be",
        ),
        (
            "brotli",
            Reply::new(200, &[("content-encoding", "br")], "{}"),
            Encoding,
            "the answer is compressed in a way that was not asked for (only gzip was)",
        ),
    ] {
        // Only what never ends is waited for in vain.
        let timeout = if kind == Timeout { SOON } else { PLENTY };
        assert_eq!(failure(reply, timeout).await, (kind, message.to_owned()), "{name}");
    }
}

#[actix_rt::test]
async fn a_connection_that_is_closed_at_once_is_an_error() {
    // With the request or after it: that is a matter of luck.
    assert_eq!(failure(Reply::close_at_accept(), PLENTY).await.0, HttpErrorKind::Transport);
}

#[actix_rt::test]
async fn what_never_connects_was_never_sent() {
    let nobody = url(nobody());
    let error = client().send(Request::post(&nobody, b"{}".to_vec())).await.expect_err("nobody listens");
    assert_eq!((error.kind, error.message.as_str(), error.sent), (HttpErrorKind::Connect, "connection refused", false));

    let unknown = url("http://no-such-name.invalid/");
    let error = client().send(Request::post(&unknown, Vec::new())).await.expect_err("no such name");
    assert_eq!(error.kind, HttpErrorKind::Connect);
    assert_eq!((error.message.as_str(), error.sent), ("the name no-such-name.invalid does not resolve", false));
}

#[actix_rt::test]
async fn a_post_that_times_out_may_have_been_sent() {
    let server = FaultServer::start([Reply::hang()]).await;
    let target = url(server.url("/"));
    let error =
        client().send(Request { timeout: SOON, ..Request::post(&target, b"{}".to_vec()) }).await.expect_err("late");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Timeout, true));
}

#[actix_rt::test]
async fn requests_that_cannot_be_built_are_errors() {
    for (target, headers) in [
        ("ftp://localhost/", &[][..]),
        ("http://localhost/", &[("x", "a\r\nb: c")][..]),
        ("http://localhost/", &[("x y", "a")][..]),
    ] {
        let target = url(target);
        let error = client().send(Request { headers, ..Request::get(&target) }).await.expect_err("nonsense");
        assert_eq!((error.kind, error.sent), (HttpErrorKind::Invalid, false), "{error}");
    }
}

#[actix_rt::test]
async fn gzip_and_chunks_are_read() {
    let body = "[1, 2, 3]".repeat(1_000);
    let server = FaultServer::start([Reply::gzip(&body), Reply::chunked(&["[1,", " 2]"])]).await;
    let client = client();
    assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, body.as_bytes());
    assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, b"[1, 2]");
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn a_304_has_no_body_whatever_length_it_announces() {
    let server = FaultServer::start([Reply::raw("HTTP/1.1 304 Not Modified\r\ncontent-length: 897\r\n\r\n")]).await;
    let answer = get(&client(), &server.url("/")).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

#[actix_rt::test]
async fn a_connection_is_used_again() {
    let server = FaultServer::start([Reply::json("1"), Reply::raw("HTTP/1.1 304 N\r\n\r\n"), Reply::json("2")]).await;
    let client = client();
    for _ in 0..6 {
        get(&client.clone(), &server.url("/")).await.expect("an answer");
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 6));
}

#[actix_rt::test]
async fn a_connection_that_the_server_closed_meanwhile_does_no_harm() {
    let server = FaultServer::start([Reply::json("1").close()]).await;
    let client = client();
    for _ in 0..5 {
        get(&client, &server.url("/")).await.expect("an answer");
    }
    assert_eq!((server.connections(), server.requests().len()), (5, 5));
}

#[actix_rt::test]
async fn a_get_on_a_dead_connection_is_repeated_on_a_new_one() {
    // The server reads the second request of the connection and then closes or resets it, as if both had crossed.
    for death in [Reply::raw("").close(), Reply::reset()] {
        let server = FaultServer::start([Reply::json("1"), death.clone(), Reply::json("2")]).await;
        let client = client();
        assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, b"1");
        assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, b"2");
        assert_eq!((server.connections(), server.requests().len()), (2, 3));
        server.script([death]);
        let error = get(&client, &server.url("/")).await.expect_err("it dies on a fresh connection, too");
        assert_eq!(error.kind, HttpErrorKind::Transport);
        assert_eq!(server.requests().len(), 4, "a new connection that dies is not tried twice");
    }
}

#[actix_rt::test]
async fn a_post_on_a_dead_connection_is_not_repeated() {
    let server = FaultServer::start([Reply::json("1"), Reply::raw("").close(), Reply::json("2")]).await;
    let client = client();
    let target = url(server.url("/"));
    client.send(Request::post(&target, b"a".to_vec())).await.expect("an answer");
    let error = client.send(Request::post(&target, b"b".to_vec())).await.expect_err("closed");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Transport, true));
    assert_eq!(server.requests().len(), 2);
}

#[actix_rt::test]
async fn a_dead_connection_in_the_pool_does_not_make_chunks_look_cut_off() {
    let server = FaultServer::start([Reply::json("1").close(), Reply::chunked(&["2"])]).await;
    let client = client();
    get(&client, &server.url("/")).await.expect("an answer");
    assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, b"2");
    server.script([Reply::raw(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n",
    )
    .close()]);
    assert_eq!(get(&client, &server.url("/")).await.expect("an answer").body, b"3");
}

#[actix_rt::test]
async fn redirects_are_followed_within_an_origin_with_all_headers() {
    let server = FaultServer::start([Reply::redirect(302, "b"), Reply::redirect(308, "?c"), Reply::json("1")]).await;
    let target = url(server.url("/x/a"));
    let request = Request { headers: &[("authorization", "Bearer t"), ("x-key", "k")], ..Request::get(&target) };
    assert_eq!(client().send(request).await.expect("an answer").body, b"1");
    let targets: Vec<_> = server.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, ["/x/a", "/x/b", "/x/b?c"]);
    for request in server.requests() {
        assert_eq!((request.header("authorization"), request.header("x-key")), (Some("Bearer t"), Some("k")));
    }
}

#[actix_rt::test]
async fn no_secret_ever_reaches_another_origin_nor_comes_back_from_there() {
    let home = FaultServer::start([]).await;
    let foreign = FaultServer::start([]).await;
    home.script([Reply::redirect(307, &foreign.url("/there")), Reply::json("1")]);
    foreign.script([Reply::redirect(307, "/and-on"), Reply::redirect(307, &home.url("/back"))]);
    let target = url(home.url("/").replace("http://", "http://user:pw@"));
    let headers = [("Authorization", "Bearer t"), ("X-Api-Key", "k"), ("cookie", "c=1"), ("Accept", "a/b")];
    assert_eq!(
        client().send(Request { headers: &headers, ..Request::get(&target) }).await.expect("an answer").body,
        b"1"
    );

    let [first, back] = &home.requests()[..] else { panic!("two requests") };
    let [there, and_on] = &foreign.requests()[..] else { panic!("two requests") };
    assert_eq!(first.header("authorization"), Some("Bearer t"));
    for stranger in [there, and_on, back] {
        for name in ["authorization", "x-api-key", "cookie"] {
            assert_eq!(stranger.header(name), None, "{name} on {}", stranger.target);
        }
        assert_eq!(stranger.header("accept"), Some("a/b"));
    }
}

#[actix_rt::test]
async fn user_and_password_of_a_url_become_a_header_and_nothing_else() {
    let server = FaultServer::start([Reply::json("1")]).await;
    get(&client(), &server.url("/").replace("http://", "http://us%20er:pw@")).await.expect("an answer");
    let [request] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(request.header("authorization"), Some("Basic dXMgZXI6cHc="));
    assert_eq!(request.header("host"), Some(server.address().to_string().as_str()));
}

#[test]
fn secret_headers_are_hidden_from_the_logs_of_libraries() {
    assert_eq!(format!("{:?}", secret("Bearer t").expect("a value")), "Sensitive");
}

#[actix_rt::test]
async fn redirects_that_lead_nowhere_are_errors() {
    let circle = FaultServer::start([Reply::redirect(302, "/again")]).await;
    let error = get(&client(), &circle.url("/")).await.expect_err("a circle");
    assert_eq!((error.kind, error.message.as_str()), (HttpErrorKind::Redirect, "more than 10 redirects in a row"));
    assert_eq!((circle.requests().len(), circle.connections()), (11, 1));

    for (reply, message) in [
        (Reply::new(301, &[], ""), "redirected without saying where to"),
        (Reply::redirect(302, "http://[::"), "redirected to something that is no URL"),
        (Reply::redirect(302, "file:///etc/passwd"), "redirected to a URL that is neither http nor https"),
    ] {
        let server = FaultServer::start([reply]).await;
        let error = get(&client(), &server.url("/")).await.expect_err("nowhere");
        assert_eq!((error.kind, error.message.as_str()), (HttpErrorKind::Redirect, message));
    }
}

#[actix_rt::test]
async fn more_requests_than_connections_wait_for_their_turn() {
    let server = FaultServer::start([Reply::json("1").after(Duration::from_millis(20))]).await;
    let client = HttpClient::new(&HttpOptions { max_connections: 2, ..HttpOptions::default() });
    let target = server.url("/");
    let answers = futures_util::future::join_all((0..8).map(|_| get(&client, &target))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.connections(), 2);
}

#[actix_rt::test]
async fn a_dropped_request_leaves_the_client_usable() {
    let server = FaultServer::start([Reply::hang(), Reply::json("1")]).await;
    let client = HttpClient::new(&HttpOptions { max_connections: 1, ..HttpOptions::default() });
    let target = server.url("/");
    tokio::select! {
        _ = get(&client, &target) => panic!("it hangs"),
        () = until(|| server.requests().len() == 1) => {}
    }
    assert_eq!(get(&client, &target).await.expect("an answer").body, b"1");
}
