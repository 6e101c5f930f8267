//! Tests over a real socket.

use serde_json::{Value, json};

use super::{super::testing::*, *};
use crate::{clock::SystemClock, http::HttpOptions};

fn plugin(url: Url, secret: &str) -> OcPlugin {
    let http = HttpClient::new(&HttpOptions::default());
    let clock = Arc::new(SystemClock::new());
    OcPlugin::new(ReceiverId::new("oc-plugin"), url, Secret::new(secret), "kimi", http, clock, Duration::from_secs(20))
}

#[actix_rt::test]
async fn the_document_is_sent_with_actor_token_and_key() {
    let (url, server) = serve(vec![Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")]);
    let big: Value = serde_json::from_str("[123456789012345678901234567890, 1.10]").expect("JSON");
    let document = document_of(&[("tasks", big)]);
    plugin(url, "t0ken").deliver(&document).await.expect("delivered");
    let (head, body) = server.join().expect("it served").remove(0);
    let id = document.envelope.batch_id;
    assert!(head.contains("\r\nauthorization: bearer t0ken\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nidempotency-key: {id}\r\n")), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("[123456789012345678901234567890,1.10]"), "no digit is lost");
    let mut expected = serde_json::to_value(&document).expect("JSON");
    expected["actor"] = json!("kimi");
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
}

#[actix_rt::test]
async fn a_refused_secret_is_permanent_and_not_shown() {
    let (url, server) = serve(vec![Reply::Raw("HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nt0ken!")]);
    let error = plugin(url, "t0ken").deliver(&document()).await.expect_err("refused");
    server.join().expect("it served");
    assert!(error.message.ends_with(": 401 Unauthorized: check the secret"), "{error}");
    assert!(!error.message.contains("t0ken"));
}
