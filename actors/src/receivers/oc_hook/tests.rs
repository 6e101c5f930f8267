//! Hooks as OpenClaw answers them, and as others do.

use serde_json::json;

use super::{
    super::{DeliveryErrorKind, Reached, testing::document},
    *,
};
use crate::{
    clock::SystemClock,
    fault_server::{FaultServer, Reply},
    http::HttpOptions,
};

const TOKEN: &str = "h00k-s3cret";
const BATCH: &str = "01900000-0000-7000-8000-000000000001";

fn hook(base: &str, action: HookAction) -> OcHook {
    OcHook::new(
        ReceiverId::new("oc-hook"),
        &base.parse().expect("a URL"),
        Secret::new(TOKEN),
        action,
        None,
        None,
        HttpClient::new(&HttpOptions::default()),
        Arc::new(SystemClock::new()),
        Duration::from_secs(10),
    )
}

fn agent() -> HookAction {
    HookAction::Agent { agent_id: None, session_key: None, deliver: None, channel: None, to: None }
}

#[actix_rt::test]
async fn an_agent_gets_the_message_under_the_batch_id() {
    let server = FaultServer::start([Reply::json(r#"{"ok":true,"runId":"r-1"}"#)]).await;
    for base in ["", "/"] {
        let receipt = hook(&server.url(base), agent()).deliver(&document()).await.expect("delivered");
        assert_eq!(receipt.detail, "200 OK, run r-1");
    }
    let full = HookAction::Agent {
        agent_id: Some("helper".to_owned()),
        session_key: Some("ograph".to_owned()),
        deliver: Some(true),
        channel: Some("telegram".to_owned()),
        to: Some("12345".to_owned()),
    };
    hook(&server.url("/behind/a/proxy/"), full).deliver(&document()).await.expect("delivered");
    let requests = server.requests();
    let message = briefing::brief(&document(), None, None);
    let body = |n: usize| serde_json::from_slice::<Value>(&requests[n].body).expect("JSON");
    assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("POST", "/hooks/agent"));
    assert_eq!(requests[1].target, "/hooks/agent");
    assert_eq!(requests[0].header("authorization"), Some("Bearer h00k-s3cret"));
    assert_eq!(requests[0].header("idempotency-key"), Some(BATCH));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(body(0), json!({"message": message, "name": "OGraph", "deliver": false}));
    assert_eq!(body(0), body(1), "a repeated delivery is the same");
    assert_eq!(requests[2].target, "/behind/a/proxy/hooks/agent");
    let full = json!({"message": message, "name": "OGraph", "deliver": true, "agentId": "helper",
        "sessionKey": "ograph", "channel": "telegram", "to": "12345"});
    assert_eq!(body(2), full);
}

#[actix_rt::test]
async fn a_session_is_woken_by_a_short_text() {
    let server = FaultServer::start([Reply::json(r#"{"ok":true,"mode":"now","eventOutcome":"coalesced"}"#)]).await;
    let wake = HookAction::Wake { agent_id: None };
    let receipt = hook(&server.url("/"), wake).deliver(&document()).await.expect("delivered");
    assert_eq!(receipt.detail, "200 OK, coalesced");
    let request = &server.requests()[0];
    assert_eq!(request.target, "/hooks/wake");
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body, json!({"text": "OGraph: 1 projection changed: `tasks`", "mode": "now"}));
}

#[actix_rt::test]
async fn answers_mean_what_the_contract_says() {
    let retry = DeliveryErrorKind::Retry { after: None };
    let later = DeliveryErrorKind::Retry { after: Some(Duration::from_secs(60)) };
    for (reply, kind, reached) in [
        (Reply::new(503, &[], r#"{"ok":false}"#), retry, Reached::No),
        (Reply::new(429, &[("retry-after", "60")], "Too Many Requests"), later, Reached::No),
        (Reply::new(401, &[], "Unauthorized"), DeliveryErrorKind::Permanent, Reached::No),
        (
            Reply::new(413, &[], r#"{"ok":false,"error":"payload too large"}"#),
            DeliveryErrorKind::Permanent,
            Reached::No,
        ),
        (Reply::new(400, &[], r#"{"ok":false}"#), DeliveryErrorKind::Permanent, Reached::No),
        (Reply::new(404, &[], "Not Found"), DeliveryErrorKind::Permanent, Reached::No),
        // Its web UI, a captive portal.
        (Reply::new(200, &[("content-type", "text/html")], "<html>"), DeliveryErrorKind::Permanent, Reached::No),
        (Reply::json(r#"{"ok":false}"#), DeliveryErrorKind::Permanent, Reached::No),
        (Reply::json("[]"), DeliveryErrorKind::Permanent, Reached::No),
        (Reply::reset(), retry, Reached::Maybe),
        (Reply::announcing(99, "{\"ok\""), retry, Reached::Maybe),
    ] {
        let server = FaultServer::start([reply]).await;
        let error = hook(&server.url("/"), agent()).deliver(&document()).await.expect_err("not delivered");
        assert_eq!((error.kind, error.reached), (kind, reached), "{error}");
        assert!(error.message.starts_with("http://127.0.0.1:") && !error.message.contains(TOKEN), "{error}");
        assert_eq!(server.requests().len(), 1, "one attempt a delivery");
    }
}

#[actix_rt::test]
async fn the_largest_message_fits_into_a_hook() {
    let server = FaultServer::start([Reply::json(r#"{"ok":true}"#)]).await;
    let mut hook = hook(&server.url("/"), agent());
    hook.template = Some("\u{1}".repeat(300_000));
    assert_eq!(hook.deliver(&document()).await.expect("delivered").detail, "200 OK");
    assert!(server.requests()[0].body.len() < 256 * 1024);
}
