//! Deliveries through a stand-in for the gateway, and what its answers mean.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use url::Url;

use super::{super::testing::document, *};
use crate::{
    availability::Availability as _,
    clock::SystemClock,
    gateway_server::{Act, GatewayServer},
    http::{HttpClient, HttpOptions},
    model::availability::Free,
    openclaw::{GatewayAvailability, GatewayOptions},
    receivers::OcPlugin,
    secret::Secret,
};

const TOKEN: &str = "t0p-s3cret";
const BATCH: &str = "01900000-0000-7000-8000-000000000001";

fn gateway(url: Url, token: &str) -> Gateway {
    let options = GatewayOptions::new(url, Secret::new(token));
    Gateway::new(HttpClient::new(&HttpOptions::default()), Arc::new(SystemClock::new()), options)
}

fn receiver(gateway: Gateway, action: GatewayAction, timeout: Duration) -> OcGateway {
    OcGateway::new(ReceiverId::new("oc-gateway"), gateway, action, None, None, timeout)
}

fn agent(session: Option<&str>, wait: bool) -> GatewayAction {
    GatewayAction::Agent { session_key: session.map(str::to_owned), wait }
}

fn chat() -> GatewayAction {
    GatewayAction::Send { channel: Some("telegram".to_owned()), to: "12345".to_owned() }
}

async fn deliver_to(server: &GatewayServer, action: GatewayAction) -> Result<Receipt, DeliveryError> {
    receiver(gateway(server.url("ws"), TOKEN), action, Duration::from_secs(10)).deliver(&document()).await
}

/// What comes of a delivery that is answered so.
async fn answered(action: GatewayAction, act: Act) -> Result<Receipt, DeliveryError> {
    let server = GatewayServer::start(TOKEN, move |_, _| act.clone()).await;
    deliver_to(&server, action).await
}

#[actix_rt::test]
async fn an_agent_gets_the_message_under_the_batch_id() {
    let server = GatewayServer::start(TOKEN, |_, _| Act::Answer(json!({"runId": BATCH, "status": "accepted"}))).await;
    let receipt = deliver_to(&server, agent(Some("ograph"), false)).await.expect("delivered");
    assert_eq!(receipt.detail, format!("accepted, run {BATCH}"));
    let [(method, params)] = &server.calls()[..] else { panic!("one call") };
    assert_eq!(method, "agent");
    assert_eq!(params["message"], briefing::brief(&document(), None, None));
    assert_eq!((&params["idempotencyKey"], &params["sessionKey"]), (&json!(BATCH), &json!("ograph")));
    assert_eq!(params["deliver"], false);
    assert_eq!(params.as_object().expect("an object").len(), 4, "the gateway refuses what it does not know");
}

#[actix_rt::test]
async fn openclaw_recognises_turns_whoever_brings_them_and_messages_apart_from_them() {
    let url: Url = "ws://127.0.0.1:1".parse().expect("a URL");
    let on_gateway = |action| receiver(gateway(url.clone(), TOKEN), action, Duration::from_secs(10));
    let (http, clock) = (HttpClient::new(&HttpOptions::default()), Arc::new(SystemClock::new()));
    let (id, secret, second) = (ReceiverId::new("oc-plugin"), Secret::new(TOKEN), Duration::from_secs(1));
    let plugin = OcPlugin::new(id, "http://localhost:1/p".parse().expect("a URL"), secret, 3, http, clock, second);
    let (turn, message) = (on_gateway(agent(None, false)), on_gateway(chat()));
    assert!(turn.recognised_by().is_some());
    assert_eq!(turn.recognised_by(), on_gateway(agent(Some("another"), true)).recognised_by());
    assert_eq!(turn.recognised_by(), plugin.recognised_by());
    assert!(message.recognised_by().is_some());
    assert_ne!(turn.recognised_by(), message.recognised_by());
}

#[actix_rt::test]
async fn a_repeated_call_is_delivered_however_far_the_run_is() {
    for (payload, detail) in [
        (json!({"runId": BATCH, "status": "in_flight"}), "in_flight"),
        (json!({"runId": BATCH, "status": "ok", "summary": "completed"}), "ok"),
        (json!({"runId": BATCH, "status": "error"}), "error"),
        (json!({}), "no status"),
    ] {
        let receipt = answered(agent(None, false), Act::Answer(payload)).await.expect("delivered");
        assert_eq!(receipt.detail, format!("{detail}, run {BATCH}"));
    }
}

#[actix_rt::test]
async fn a_run_that_failed_before_was_delivered_before() {
    let cached = |ended: &'static str| {
        GatewayServer::start(TOKEN, move |method, params| match method {
            "agent" => Act::Refuse(json!({"code": "UNAVAILABLE", "message": "LLM request failed"})),
            _ => {
                assert_eq!(params["runId"], BATCH);
                Act::Answer(json!({"runId": BATCH, "status": ended, "error": "LLM request\nfailed"}))
            }
        })
    };
    let receipt = deliver_to(&cached("error").await, agent(None, false)).await.expect("delivered before");
    assert_eq!(receipt.detail, format!("delivered before, run {BATCH}; its turn failed (LLM request failed)"));
    // No such run: the gateway could not take the call.
    let error = deliver_to(&cached("timeout").await, agent(None, false)).await.expect_err("not delivered");
    assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::Maybe));
}

#[actix_rt::test]
async fn the_end_of_a_turn_is_noted_if_that_is_wanted() {
    for (end, detail) in [
        (Act::Answer(json!({"status": "ok"})), "; its turn ended well"),
        (Act::Answer(json!({"status": "error", "error": "a`b\u{1b}"})), "; its turn failed (a'b )"),
        (Act::Answer(json!({"status": "timeout"})), "; its turn goes on"),
        (Act::Answer(json!(7)), "; its end is not known"),
        (Act::error("UNAVAILABLE", None), "; its end is not known"),
        (Act::Cut, "; its end is not known"),
        (Act::Ignore, "; its end is not known"),
    ] {
        let server = GatewayServer::start(TOKEN, move |method, params| match method {
            "agent" => Act::Answer(json!({"runId": "r", "status": "accepted"})),
            _ => {
                assert_eq!(params["runId"], "r");
                assert!(params["timeoutMs"].as_u64().is_some_and(|patience| patience < 1000), "{params}");
                end.clone()
            }
        })
        .await;
        let patience = Duration::from_millis(1000);
        let receiver = receiver(gateway(server.url("ws"), TOKEN), agent(None, true), patience);
        let receipt = receiver.deliver(&document()).await.expect("delivered all the same");
        assert_eq!(receipt.detail, format!("accepted, run r{detail}"));
    }
}

#[actix_rt::test]
async fn a_message_goes_to_a_chat_under_the_batch_id() {
    let server = GatewayServer::start(TOKEN, |_, _| Act::Answer(json!({"messageId": "7", "runId": BATCH}))).await;
    assert_eq!(deliver_to(&server, chat()).await.expect("delivered").detail, "sent, message 7");
    let to = GatewayAction::Send { channel: None, to: "x".to_owned() };
    assert!(deliver_to(&server, to).await.is_ok());
    let calls = server.calls();
    assert_eq!(calls[0].0, "send");
    let params = json!({
        "to": "12345", "channel": "telegram", "idempotencyKey": BATCH, "message": "OGraph: 1 projection changed: `tasks`",
    });
    assert_eq!(calls[0].1, params);
    assert_eq!(calls[1].1.get("channel"), None);
}

#[actix_rt::test]
async fn a_message_that_openclaw_keeps_for_later_is_delivered() {
    let receipt = answered(chat(), Act::error("UNAVAILABLE", Some(QUEUED))).await.expect("delivered");
    assert_eq!(receipt.detail, "queued by OpenClaw, which sends it later");
}

#[actix_rt::test]
async fn errors_are_judged_by_the_table() {
    let retry = DeliveryErrorKind::Retry { after: None };
    let later = DeliveryErrorKind::Retry { after: Some(Duration::from_millis(1500)) };
    let refuse = Act::Refuse;
    for (act, kind, reached) in [
        (Act::error("UNAVAILABLE", None), retry, Reached::Maybe),
        (refuse(json!({"code": "UNAVAILABLE", "retryAfterMs": 1500})), later, Reached::Maybe),
        // A part of it was sent.
        (refuse(json!({"code": "UNAVAILABLE", "retryable": false})), DeliveryErrorKind::Permanent, Reached::Maybe),
        (refuse(json!({"code": "SOMETHING", "retryable": true})), retry, Reached::No),
        (Act::error("INVALID_REQUEST", None), DeliveryErrorKind::Permanent, Reached::No),
        (Act::error("FORBIDDEN", Some("MISSING_SCOPE")), DeliveryErrorKind::Permanent, Reached::No),
        (Act::error("", None), DeliveryErrorKind::Permanent, Reached::No),
        (Act::Cut, retry, Reached::Maybe),
        (Act::Close(1012, "service restart"), retry, Reached::Maybe),
        (Act::text("garbage"), retry, Reached::Maybe),
    ] {
        let shown = format!("{act:?}");
        let error = answered(chat(), act).await.expect_err(&shown);
        assert_eq!((error.kind, error.reached), (kind, reached), "{shown}: {error}");
        assert!(error.message.starts_with("ws://127.0.0.1:"), "{error}");
    }
}

#[actix_rt::test]
async fn a_gateway_that_hangs_is_given_up_in_time() {
    let server = GatewayServer::start(TOKEN, |_, _| Act::Ignore).await;
    let receiver = receiver(gateway(server.url("ws"), TOKEN), chat(), Duration::from_millis(200));
    let error = receiver.deliver(&document()).await.expect_err("no answer");
    assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Retry { after: None }, Reached::Maybe));
}

#[actix_rt::test]
async fn a_refused_token_is_permanent_and_nothing_was_sent() {
    let server = GatewayServer::start("another", |_, _| Act::Answer(json!({}))).await;
    let error = deliver_to(&server, agent(None, false)).await.expect_err("refused");
    assert_eq!((error.kind, error.reached), (DeliveryErrorKind::Permanent, Reached::No), "{error}");
    assert!(error.message.contains("gateway.auth.token"));
    assert!(server.calls().is_empty());
}

#[actix_rt::test]
async fn a_delivery_takes_a_slot_until_it_shows_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = GatewayServer::start(TOKEN, {
        let asked = Arc::clone(&asked);
        move |method, _| match method {
            "agent" => Act::Answer(json!({"runId": BATCH, "status": "accepted", "sessionKey": "agent:main:ograph"})),
            "diagnostics.lanes" => Act::Answer(
                json!({"lanes": [{"lane": "main", "activeCount": 0, "queuedCount": 0, "maxConcurrent": 4}]}),
            ),
            _ if asked.fetch_add(1, Ordering::Relaxed) < 2 => Act::Answer(json!({"count": 0, "sessions": []})),
            _ => Act::Answer(json!({"count": 1, "sessions": [{"key": "agent:main:ograph"}]})),
        }
    })
    .await;
    let gateway = gateway(server.url("ws"), TOKEN);
    let availability = GatewayAvailability::new(gateway.clone(), Duration::from_secs(10));
    assert_eq!(availability.free().await, Ok(Free::Slots(4)));
    let receiver = receiver(gateway, agent(Some("ograph"), false), Duration::from_secs(10));
    receiver.deliver(&document()).await.expect("delivered");
    assert_eq!(availability.free().await, Ok(Free::Slots(3)), "it does not show up yet");
    assert_eq!(availability.free().await, Ok(Free::Slots(3)), "it does, and is not counted twice");
    assert_eq!(server.connections(), (1, 1), "availability and receiver share the connection");
}
