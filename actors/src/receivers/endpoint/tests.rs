//! Tests of the table of answers, over real sockets.

use std::net::TcpListener;

use super::{super::testing::*, *};
use crate::{clock::TestClock, http::HttpOptions, model::time::Timestamp};

fn endpoint(url: Url, timeout: Duration) -> Endpoint {
    // Thu, 01 Jan 1970 00:01:00 GMT
    let clock = Arc::new(TestClock::starting_at(Timestamp::from_millis(60_000)));
    Endpoint { url, http: HttpClient::new(&HttpOptions::default()), clock, timeout, if_missing: "look elsewhere" }
}

async fn post(url: Url) -> Result<Receipt, DeliveryError> {
    endpoint(url, Duration::from_secs(20)).post(b"{}".to_vec(), &[]).await
}

async fn answered(reply: Reply) -> Result<Receipt, DeliveryError> {
    let (url, server) = serve(vec![reply]);
    let result = post(url).await;
    let requests = server.join().expect("it served");
    assert!(requests[0].0.starts_with("post /hook?key=hidden http/1.1\r\n"));
    assert!(requests[0].0.contains("\r\ncontent-type: application/json\r\n"));
    if let Err(error) = &result {
        assert!(error.message.starts_with("http://127.0.0.1:") && !error.message.contains("hidden"), "{error}");
    }
    result
}

fn judged(status: u16, retry_after: Option<&str>) -> Result<Receipt, DeliveryError> {
    let url = "https://user:pass@example.org/secret/path?key=hidden".parse().expect("a URL");
    endpoint(url, Duration::from_secs(20)).judge(status, retry_after)
}

#[actix_rt::test]
async fn a_success_is_delivered() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let receipt = answered(Reply::Raw(reply)).await.expect("delivered");
        assert_eq!(
            receipt.detail,
            reply.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status")
        );
    }
}

#[test]
fn every_status_is_judged_by_the_table() {
    for status in 100..1000 {
        let verdict = judged(status, None).map_err(|error| (error.kind, error.reached));
        let retry = DeliveryErrorKind::Retry { after: None };
        let expected = match status {
            200..=299 => {
                assert!(verdict.is_ok(), "{status}");
                continue;
            }
            408 | 425 | 429 | 503 => (retry, Reached::No),
            500..=599 => (retry, Reached::Maybe),
            _ => (DeliveryErrorKind::Permanent, Reached::No),
        };
        assert_eq!(verdict, Err(expected), "{status}");
    }
}

#[test]
fn the_message_names_server_status_and_remedy_and_no_secret() {
    for (status, message) in [
        (503, "https://example.org: 503 Service Unavailable"),
        (401, "https://example.org: 401 Unauthorized: check the secret"),
        (301, "https://example.org: 301 Moved Permanently: redirects are not followed, configure the final URL"),
        (404, "https://example.org: 404 Not Found: look elsewhere"),
        (422, "https://example.org: 422 Unprocessable Entity"),
    ] {
        assert_eq!(judged(status, None).expect_err("a failure").message, message);
    }
}

#[test]
fn the_receivers_wish_for_time_is_honoured() {
    for (value, after) in [
        ("7", Some(Duration::from_secs(7))),
        ("Thu, 01 Jan 1970 00:01:30 GMT", Some(Duration::from_secs(30))),
        ("soon", None),
    ] {
        for status in [429, 500, 503] {
            let error = judged(status, Some(value)).expect_err("a failure");
            let DeliveryErrorKind::Retry { after: Some(read) } = error.kind else {
                assert_eq!(after, None, "{value}");
                continue;
            };
            let wanted = after.expect(value);
            assert!(read <= wanted && wanted - read < Duration::from_secs(2), "{value}: {read:?}");
        }
    }
    assert_eq!(judged(400, Some("7")).expect_err("a failure").kind, DeliveryErrorKind::Permanent);
}

#[actix_rt::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, _server) = serve(vec![]);
    let reply = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    let error = answered(Reply::Raw(reply.leak())).await.expect_err("not delivered");
    assert_eq!(error.kind, DeliveryErrorKind::Permanent);
}

#[actix_rt::test]
async fn without_a_connection_nothing_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
    drop(listener);
    let error = post(url).await.expect_err("refused");
    assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::No), "{error}");
}

#[actix_rt::test]
async fn an_answer_that_got_lost_leaves_it_open() {
    for reply in [Reply::Close, Reply::Raw("no HTTP at all\r\n\r\n")] {
        let error = answered(reply).await.expect_err("no answer");
        assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::Maybe), "{error}");
    }
}

#[actix_rt::test]
async fn a_server_that_hangs_is_left_at_the_timeout() {
    let (url, server) = serve(vec![Reply::Hang]);
    let error = endpoint(url, Duration::from_millis(300)).post(b"{}".to_vec(), &[]).await.expect_err("it hangs");
    assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::Maybe), "{error}");
    server.join().expect("the connection was closed");
}

#[actix_rt::test]
async fn a_request_that_cannot_be_built_is_not_tried_again() {
    let url = "http://127.0.0.1:9/".parse().expect("a URL");
    let endpoint = endpoint(url, Duration::from_secs(20));
    let error = endpoint.post(Vec::new(), &[("authorization", "Bearer a\nb")]).await.expect_err("no such header");
    assert_eq!(error.kind, DeliveryErrorKind::Permanent, "{error}");
}
