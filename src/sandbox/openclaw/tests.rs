//! The OpenClaw stand-in answers like the real gateway, over real sockets.

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;

use super::*;

const TOKEN: &str = "gateway-token";

async fn ask(method: &str, url: String, token: Option<&str>, body: &str) -> (u16, String, Vec<u8>) {
    let mut request = awc::Client::default().request(method.parse().unwrap(), url);
    if let Some(token) = token {
        request = request.insert_header((AUTHORIZATION, format!("Bearer {token}")));
    }
    let mut response = request.send_body(body.to_owned()).await.unwrap();
    let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = response.body().await.unwrap().to_vec();
    (response.status().as_u16(), kind, body)
}

async fn ask_json(method: &str, url: String, token: Option<&str>, body: &str) -> (u16, Value) {
    let (status, kind, body) = ask(method, url, token, body).await;
    assert_eq!(kind, "application/json");
    (status, serde_json::from_slice(&body).unwrap())
}

#[actix_rt::test]
async fn the_status_counts_the_slots() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    for (busy, available) in [(0, 4), (3, 1), (4, 0), (9, 0), (1, 3)] {
        openclaw.set_busy(busy);
        let answer = ask_json("GET", openclaw.status_endpoint(), Some(TOKEN), "").await;
        assert_eq!(answer, (200, json!({"max": 4, "active": 4 - available, "available": available})));
    }
    openclaw.stop().await;
}

#[actix_rt::test]
async fn a_delivered_document_can_be_read_back() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    let document = json!({"version": 1, "batchId": "b", "changes": [{"new": 1}]});
    let answer = ask_json("POST", openclaw.dispatch_endpoint(), Some(TOKEN), &document.to_string()).await;
    assert_eq!(answer, (200, json!({"ok": true, "runId": "run-1"})));
    assert_eq!(openclaw.deliveries(), [document]);
}

#[actix_rt::test]
async fn only_the_last_documents_are_kept() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    for number in 1..=KEPT + 2 {
        let (status, answer) =
            ask_json("POST", openclaw.dispatch_endpoint(), Some(TOKEN), &json!({"n": number}).to_string()).await;
        assert_eq!((status, &answer["runId"]), (200, &json!(format!("run-{number}"))));
    }
    let kept = openclaw.deliveries();
    assert_eq!((kept.len(), &kept[0]), (KEPT, &json!({"n": 3})));
}

#[actix_rt::test]
async fn without_the_token_nothing_is_told_and_nothing_is_taken() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    for token in [None, Some("wrong")] {
        for (method, url) in [("GET", openclaw.status_endpoint()), ("POST", openclaw.dispatch_endpoint())] {
            let answer = ask_json(method, url, token, "{}").await;
            assert_eq!(answer, (401, json!({"error": {"message": "Unauthorized", "type": "unauthorized"}})));
        }
    }
    assert_eq!(openclaw.deliveries(), [] as [Value; 0]);
}

#[actix_rt::test]
async fn what_is_no_document_is_refused() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    for body in ["", "{", "[]", "1", "null"] {
        let (status, answer) = ask_json("POST", openclaw.dispatch_endpoint(), Some(TOKEN), body).await;
        assert_eq!((status, &answer["error"]["type"]), (400, &json!("invalid_request")), "{body}");
    }
    assert_eq!(openclaw.deliveries(), [] as [Value; 0]);
}

#[actix_rt::test]
async fn unknown_pages_are_the_web_interface_and_unknown_plugins_are_not_found() {
    let openclaw = OpenClawStandIn::start(TOKEN, 4).unwrap();
    let base = openclaw.server.url();
    let (status, kind, body) = ask("GET", format!("{base}/api/status"), None, "").await;
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(body.starts_with(b"<!doctype html>"));
    let (status, kind, _) = ask("GET", format!("{base}/plugins/other/status"), Some(TOKEN), "").await;
    assert_eq!((status, kind.as_str()), (404, "text/plain; charset=utf-8"));
    assert_eq!(ask("POST", format!("{base}/hooks/wake"), Some(TOKEN), "{}").await.0, 404);
}
