//! Through proxies: in absolute form, and through tunnels.

use super::{
    tls_server::{self, VALID},
    *,
};

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
    let origin = tls_server::start([Reply::json("1")], &["localhost"], VALID, &[]).await;
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
