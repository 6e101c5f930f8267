//! Tests against the published example, and over a real socket.

use super::{super::testing::*, *};
use crate::{clock::TestClock, http::HttpOptions, model::time::Timestamp};

const SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";

fn secret(text: &str) -> WebhookSecret {
    text.parse().expect("a secret")
}

#[test]
fn the_published_example_is_signed_as_published() {
    let body = br#"{"event_type":"ping","data":{"success":true}}"#;
    let signature = secret(SECRET).sign("msg_loFOjxBNrRLzqYUf", "1731705121", body);
    assert_eq!(signature, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
}

#[test]
fn a_secret_may_lack_prefix_and_padding() {
    assert_eq!(secret("plJ3nmyCDGBKInavdOK15jsl"), secret(SECRET));
    assert_eq!(secret(&format!(" {SECRET}\n")), secret(SECRET));
    assert_eq!(secret("whsec_AAAAAAAAAAAAAAAAAAAAAA=="), secret("AAAAAAAAAAAAAAAAAAAAAA"));
    assert_ne!(secret("AAAAAAAAAAAAAAAAAAAAAA"), secret(SECRET));
}

#[test]
fn what_is_no_secret_is_refused_with_a_remedy() {
    for (text, error) in [
        ("correct horse battery staple", InvalidWebhookSecret::NotBase64),
        ("whsec_ä", InvalidWebhookSecret::NotBase64),
        ("whsec_", InvalidWebhookSecret::Length(0)),
        ("whsec_c2hvcnQ=", InvalidWebhookSecret::Length(5)),
        (&"A".repeat(100), InvalidWebhookSecret::Length(75)),
    ] {
        assert_eq!(text.parse::<WebhookSecret>(), Err(error));
        let words = error.to_string();
        assert!(words.contains("openssl rand -base64 32"), "{words}");
        assert!(text == "whsec_" || !words.contains(text), "{words}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    assert_eq!(format!("{:?}", secret(SECRET)), "WebhookSecret(…)");
}

async fn post(secret: Option<WebhookSecret>) -> Received {
    let (url, server) = serve(vec![Reply::Raw("HTTP/1.1 204 No Content\r\n\r\n")]);
    let http = HttpClient::new(&HttpOptions::default());
    let clock = Arc::new(TestClock::starting_at(Timestamp::from_millis(1_731_705_121_900)));
    let webhook = Webhook::new(ReceiverId::new("webhook"), url, secret, http, clock, Duration::from_secs(20));
    webhook.deliver(&document()).await.expect("delivered");
    server.join().expect("it served").remove(0)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[actix_rt::test]
async fn the_signature_covers_exactly_what_was_sent() {
    let (head, body) = post(Some(secret(SECRET))).await;
    assert_eq!(body, serde_json::to_vec(&document()).expect("JSON"));
    let (id, timestamp) =
        (header(&head, "webhook-id").expect("an id"), header(&head, "webhook-timestamp").expect("a time"));
    assert_eq!(id, document().envelope.batch_id.to_string());
    let seconds: i64 = timestamp.parse().expect("seconds");
    assert!((1_731_705_121..1_731_705_160).contains(&seconds), "{seconds}");
    // The stand-in gives its head in lower case.
    let signature = secret(SECRET).sign(id, timestamp, &body).to_lowercase();
    assert_eq!(header(&head, "webhook-signature"), Some(signature.as_str()));
    assert_eq!(header(&head, "content-type"), Some("application/json"));
}

#[actix_rt::test]
async fn without_a_secret_there_is_no_signature() {
    let (head, _) = post(None).await;
    assert!(header(&head, "webhook-id").is_some());
    assert_eq!(header(&head, "webhook-signature"), None);
}
