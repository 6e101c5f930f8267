//! The client against servers that misbehave.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use url::Url;

use super::*;
use fault_server::{FaultServer, Reply};

#[path = "../../../tests/support/fault_server.rs"]
pub(crate) mod fault_server;

const SOON: Duration = Duration::from_millis(300);

pub(crate) fn client() -> HttpClient {
    HttpClient::new(&HttpOptions::default())
}

pub(crate) fn url(text: impl AsRef<str>) -> Url {
    Url::parse(text.as_ref()).expect("a URL")
}

/// A URL where nobody listens.
pub(crate) fn nobody() -> String {
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
    timeout(Duration::from_secs(5), holds).await.expect("the condition holds in time");
}

async fn get(client: &HttpClient, target: &str) -> Result<Answer, HttpError> {
    client.send(Request { timeout: Duration::from_secs(5), ..Request::get(&url(target)) }).await
}

/// The kind and message of the error that a server with this reply causes, and what else it recorded.
async fn failure(reply: Reply) -> (HttpErrorKind, String) {
    let server = FaultServer::start([reply]).await;
    let target = url(server.url("/"));
    let request = Request { timeout: SOON, max_body: 10_000, ..Request::get(&target) };
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
        ("bomb", Reply::bomb(100_000_000), TooLarge, large),
        ("reset", Reply::reset(), Transport, "connection reset"),
        ("close", Reply::raw("").close(), Transport, "the connection was closed before an answer came"),
        ("half a head", Reply::raw("HTTP/1.1 200 OK\r\nconten").close(), Transport, "the answer was cut off"),
        ("truncated", Reply::announcing(9, "123"), Transport, "the answer was cut off"),
        ("chunks without end", Reply::chunks_without_end(&["12", "34"]).close(), Transport, "the answer was cut off"),
        ("reset in the body", Reply::chunks_without_end(&["12", "34"]).then_reset(), Transport, "connection reset"),
        (
            "truncated gzip",
            Reply::new(200, &[("content-encoding", "gzip")], &fault_server::gzip(b"123456")[..15]),
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
        assert_eq!(failure(reply).await, (kind, message.to_owned()), "{name}");
    }
}

#[actix_rt::test]
async fn a_connection_that_is_closed_at_once_is_an_error() {
    // With the request or after it: that is a matter of luck.
    assert_eq!(failure(Reply::close_at_accept()).await.0, HttpErrorKind::Transport);
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
    foreign.script([Reply::redirect(307, &home.url("/back"))]);
    let target = url(home.url("/").replace("http://", "http://user:pw@"));
    let headers = [("Authorization", "Bearer t"), ("X-Api-Key", "k"), ("cookie", "c=1"), ("Accept", "a/b")];
    assert_eq!(
        client().send(Request { headers: &headers, ..Request::get(&target) }).await.expect("an answer").body,
        b"1"
    );

    let [first, back] = &home.requests()[..] else { panic!("two requests") };
    let [there] = &foreign.requests()[..] else { panic!("one request") };
    assert_eq!(first.header("authorization"), Some("Bearer t"));
    for stranger in [there, back] {
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

mod through_a_proxy {
    use super::*;

    fn proxied(rules: ProxyRules, roots: Roots) -> HttpClient {
        HttpClient::new(&HttpOptions { proxy: rules, roots, ..HttpOptions::default() })
    }

    #[actix_rt::test]
    async fn http_is_asked_for_in_absolute_form() {
        let proxy = FaultServer::start([Reply::redirect(302, "http://other.invalid/b"), Reply::json("1")]).await;
        let rules = ProxyRules::all(&proxy.url("").replace("http://", "http://user:pw@")).expect("a proxy");
        let client = proxied(rules, Roots::default());
        let target = url("http://origin.invalid:81/a?b=c");
        let request = Request { headers: &[("authorization", "Bearer t")], ..Request::get(&target) };
        assert_eq!(client.send(request).await.expect("an answer").body, b"1");

        let [first, second] = &proxy.requests()[..] else { panic!("two requests") };
        assert_eq!(
            (first.target.as_str(), first.header("host")),
            ("http://origin.invalid:81/a?b=c", Some("origin.invalid:81"))
        );
        assert_eq!((second.target.as_str(), second.header("host")), ("http://other.invalid/b", Some("other.invalid")));
        assert_eq!(first.header("proxy-authorization"), Some("Basic dXNlcjpwdw=="));
        assert_eq!(second.header("proxy-authorization"), Some("Basic dXNlcjpwdw=="));
        assert_eq!((first.header("authorization"), second.header("authorization")), (Some("Bearer t"), None));
        assert_eq!(proxy.connections(), 1, "the connection to the proxy is used again");
    }

    #[actix_rt::test]
    async fn https_goes_through_a_tunnel_that_sees_nothing() {
        let origin = tls::server([Reply::json("1")], &["localhost"], tls::VALID, &[]).await;
        let proxy = FaultServer::start([Reply::tunnel()]).await;
        let rules = ProxyRules::all(&proxy.url("").replace("http://", "http://user:pw@")).expect("a proxy");
        let client = proxied(rules, origin.roots.clone());
        for _ in 0..2 {
            let target = url(origin.url("/secret"));
            let request = Request { headers: &[("authorization", "Bearer t")], ..Request::get(&target) };
            assert_eq!(client.send(request).await.expect("an answer").body, b"1");
        }
        let [connect] = &proxy.requests()[..] else { panic!("one tunnel for two requests") };
        assert_eq!(connect.method, "CONNECT");
        assert_eq!(connect.target, format!("localhost:{}", origin.server.address().port()));
        assert_eq!(connect.header("proxy-authorization"), Some("Basic dXNlcjpwdw=="));
        assert_eq!(connect.header("authorization"), None);
        assert!(origin.server.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
    }

    #[actix_rt::test]
    async fn a_proxy_that_declines_is_named_as_the_culprit() {
        let refused = FaultServer::start([Reply::new(407, &[], "")]).await;
        let broken = FaultServer::start([Reply::new(502, &[], "")]).await;
        let odd = FaultServer::start([Reply::raw("220 mail.example ESMTP\r\n\r\n")]).await;
        for (proxy, message) in [
            (nobody(), "the proxy: connection refused"),
            (refused.url(""), "the proxy: it wants other credentials (407); they belong into its URL"),
            (broken.url(""), "the proxy: it answered CONNECT with 502"),
            (odd.url(""), "the proxy: it does not speak HTTP"),
        ] {
            let client = proxied(ProxyRules::all(&proxy).expect("a proxy"), Roots::only([]));
            let error = get(&client, "https://origin.invalid/").await.expect_err("no tunnel");
            assert_eq!((error.kind, error.message.as_str(), error.sent), (HttpErrorKind::Connect, message, false));
        }
        let client = proxied(ProxyRules::all(&refused.url("")).expect("a proxy"), Roots::only([]));
        let error = get(&client, "http://origin.invalid/").await.expect_err("no credentials");
        assert_eq!(error.kind, HttpErrorKind::Connect);
    }

    #[actix_rt::test]
    async fn a_proxy_that_says_nothing_costs_the_time_to_connect() {
        let silent = FaultServer::start([Reply::hang()]).await;
        let options = HttpOptions {
            proxy: ProxyRules::all(&silent.url("")).expect("a proxy"),
            roots: Roots::only([]),
            connect_timeout: SOON,
            ..HttpOptions::default()
        };
        let error = get(&HttpClient::new(&options), "https://origin.invalid/").await.expect_err("silence");
        assert_eq!((error.kind, error.message.as_str()), (HttpErrorKind::Timeout, "no connection within 0.3s"));
        assert!(!error.sent);
    }
}

mod over_tls {
    use super::{tls::VALID, *};

    fn trusting(roots: &Roots) -> HttpClient {
        HttpClient::new(&HttpOptions { roots: roots.clone(), ..HttpOptions::default() })
    }

    #[actix_rt::test]
    async fn a_trusted_server_is_believed_and_its_connection_kept() {
        let origin = tls::server([Reply::json("1")], &["localhost"], VALID, &["http/1.1"]).await;
        let client = trusting(&origin.roots);
        for _ in 0..3 {
            assert_eq!(get(&client, &origin.url("/")).await.expect("an answer").body, b"1");
        }
        assert_eq!(origin.server.connections(), 1);
    }

    #[actix_rt::test]
    async fn a_server_that_is_not_to_be_trusted_gets_no_request() {
        let good = tls::server([Reply::json("1")], &["localhost"], VALID, &[]).await;
        let expired = tls::server([Reply::json("1")], &["localhost"], 2000..2001, &[]).await;
        let early = tls::server([Reply::json("1")], &["localhost"], 2090..2100, &[]).await;
        let other = tls::server([Reply::json("1")], &["other.example"], VALID, &[]).await;
        for (origin, roots, message) in [
            (&good, &expired.roots, "the certificate comes from an authority that this system does not trust"),
            (&expired, &expired.roots, "the certificate has expired"),
            (&early, &early.roots, "the certificate is not valid yet; is the clock right?"),
            (&other, &other.roots, "the certificate is for another name"),
        ] {
            let target = url(origin.url("/"));
            let request = Request::post(&target, b"secret".to_vec());
            let error = trusting(roots).send(request).await.expect_err(message);
            assert_eq!((error.kind, error.message.as_str(), error.sent), (HttpErrorKind::Tls, message, false));
            assert!(origin.server.requests().is_empty());
        }
    }

    #[actix_rt::test]
    async fn a_server_without_tls_is_an_error() {
        let plain = FaultServer::start([Reply::raw("HTTP/1.1 400 Bad Request\r\n\r\n")]).await;
        let target = format!("https://localhost:{}/", plain.address().port());
        let client = HttpClient::new(&HttpOptions { roots: Roots::only([]), ..HttpOptions::default() });
        let request_timeout = Duration::from_millis(500);
        let target = url(target);
        let error =
            client.send(Request { timeout: request_timeout, ..Request::get(&target) }).await.expect_err("no TLS");
        assert!(matches!(error.kind, HttpErrorKind::Tls | HttpErrorKind::Timeout), "{error:?}");
    }

    #[actix_rt::test]
    async fn a_cut_off_body_is_noticed() {
        for cut in [Reply::chunks_without_end(&["12"]).close(), Reply::announcing(3, "12")] {
            let script = [cut, Reply::chunked(&["12"]), Reply::json("1").close(), Reply::chunked(&["12"])];
            let origin = tls::server(script, &["localhost"], VALID, &["http/1.1"]).await;
            let client = trusting(&origin.roots);
            let error = get(&client, &origin.url("/")).await.expect_err("cut off");
            assert_eq!((error.kind, error.message.as_str()), (HttpErrorKind::Transport, "the answer was cut off"));
            for body in [&b"12"[..], b"1", b"12"] {
                assert_eq!(get(&client, &origin.url("/")).await.expect("an answer").body, body);
            }
        }
    }

    #[actix_rt::test]
    async fn a_chunked_answer_on_a_connection_that_closes_is_whole() {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let reply = Reply::raw(format!("{head}2\r\n12\r\n0\r\n\r\n")).close();
        let origin = tls::server([reply], &["localhost"], VALID, &["http/1.1"]).await;
        let client = trusting(&origin.roots);
        for _ in 0..3 {
            assert_eq!(get(&client, &origin.url("/")).await.expect("an answer").body, b"12");
        }
    }

    #[actix_rt::test]
    async fn a_redirect_from_https_to_http_is_not_followed() {
        let plain = FaultServer::start([Reply::json("1")]).await;
        let script = [Reply::redirect(302, &plain.url("/"))];
        let origin = tls::server(script, &["localhost"], VALID, &["http/1.1"]).await;
        let error = get(&trusting(&origin.roots), &origin.url("/")).await.expect_err("a downgrade");
        assert_eq!(error.message, "redirected from https to http, which is not followed");
        assert!(plain.requests().is_empty());
    }
}

/// Servers with certificates of our own making.
mod tls {
    use std::ops::Range;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// The years in which a good certificate is valid.
    pub(super) const VALID: Range<i32> = 2000..2090;

    pub(super) struct Origin {
        pub(super) server: FaultServer,
        pub(super) roots: Roots,
    }

    impl Origin {
        pub(super) fn url(&self, path: &str) -> String {
            format!("https://localhost:{}{path}", self.server.address().port())
        }
    }

    /// A server whose certificate is for `names` and valid in these years, from an authority of its own.
    pub(super) async fn server(
        script: impl IntoIterator<Item = Reply>,
        names: &[&str],
        years: Range<i32>,
        alpn: &[&str],
    ) -> Origin {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, format!("the authority of {names:?} in {years:?}"));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

        let key = KeyPair::generate().unwrap();
        let mut certificate =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        certificate.not_before = date_time_ymd(years.start, 1, 1);
        certificate.not_after = date_time_ymd(years.end, 1, 1);
        let certificate = certificate.signed_by(&key, &authority).unwrap();

        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = FaultServer::start_wrapped(script, move |stream| acceptor.accept(stream)).await;
        Origin { server, roots: Roots::only([authority.der().clone()]) }
    }
}
