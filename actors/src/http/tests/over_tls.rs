//! Over TLS: who is trusted, and what is kept from those who are not.

use super::{
    tls_server::{self, VALID},
    *,
};

fn trusting(roots: &Roots) -> HttpClient {
    HttpClient::new(&HttpOptions { roots: roots.clone(), ..HttpOptions::default() })
}

#[actix_rt::test]
async fn a_trusted_server_is_believed_and_its_connection_kept() {
    let origin = tls_server::start([Reply::json("1")], &["localhost"], VALID, &["http/1.1"]).await;
    let client = trusting(&origin.roots);
    for _ in 0..3 {
        assert_eq!(get(&client, &origin.url("/")).await.expect("an answer").body, b"1");
    }
    assert_eq!(origin.server.connections(), 1);
}

#[actix_rt::test]
async fn a_server_that_is_not_to_be_trusted_gets_no_request() {
    let good = tls_server::start([Reply::json("1")], &["localhost"], VALID, &[]).await;
    let expired = tls_server::start([Reply::json("1")], &["localhost"], 2000..2001, &[]).await;
    let early = tls_server::start([Reply::json("1")], &["localhost"], 2090..2100, &[]).await;
    let other = tls_server::start([Reply::json("1")], &["other.example"], VALID, &[]).await;
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
    let error = client.send(Request { timeout: request_timeout, ..Request::get(&target) }).await.expect_err("no TLS");
    assert!(matches!(error.kind, HttpErrorKind::Tls | HttpErrorKind::Timeout), "{error:?}");
}

#[actix_rt::test]
async fn a_cut_off_body_is_noticed() {
    for cut in [Reply::chunks_without_end(&["12"]).close(), Reply::announcing(3, "12")] {
        let script = [cut, Reply::chunked(&["12"]), Reply::json("1").close(), Reply::chunked(&["12"])];
        let origin = tls_server::start(script, &["localhost"], VALID, &["http/1.1"]).await;
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
    let origin = tls_server::start([reply], &["localhost"], VALID, &["http/1.1"]).await;
    let client = trusting(&origin.roots);
    for _ in 0..3 {
        assert_eq!(get(&client, &origin.url("/")).await.expect("an answer").body, b"12");
    }
}

#[actix_rt::test]
async fn a_redirect_from_https_to_http_is_not_followed() {
    let plain = FaultServer::start([Reply::json("1")]).await;
    let script = [Reply::redirect(302, &plain.url("/"))];
    let origin = tls_server::start(script, &["localhost"], VALID, &["http/1.1"]).await;
    let error = get(&trusting(&origin.roots), &origin.url("/")).await.expect_err("a downgrade");
    assert_eq!(error.message, "redirected from https to http, which is not followed");
    assert!(plain.requests().is_empty());
}

#[actix_rt::test]
async fn the_certificates_of_the_system_are_loaded_once_for_all_clones() {
    let roots = Roots::default();
    assert_eq!(format!("{roots:?}"), "Roots(not loaded yet)");
    let clone = roots.clone();
    clone.config().await.expect("a configuration");
    let loaded = format!("{roots:?}");
    assert!(loaded.starts_with("Roots(") && loaded != "Roots(0)" && loaded != "Roots(not loaded yet)", "{loaded}");
}

/// The environment belongs to a process, so this starts one: the test below, which reads the URL from it.
#[actix_rt::test]
async fn ssl_cert_file_names_other_authorities() {
    let origin = tls_server::start([Reply::json("1")], &["localhost"], VALID, &["http/1.1"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, &origin.authority).expect("a file");
    let test = "http::tests::over_tls::asks_the_url_that_the_environment_names";
    let output = tokio::process::Command::new(std::env::current_exe().expect("a program"))
        .args([test, "--exact", "--ignored"])
        .env("SSL_CERT_FILE", &file)
        .env("TEST_URL", origin.url("/"))
        .kill_on_drop(true)
        .output()
        .await
        .expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(origin.server.requests().len(), 1);
}

#[actix_rt::test]
#[ignore = "started by the test above"]
async fn asks_the_url_that_the_environment_names() {
    let Ok(target) = std::env::var("TEST_URL") else { return };
    assert_eq!(get(&client(), &target).await.expect("an answer").body, b"1");
}
