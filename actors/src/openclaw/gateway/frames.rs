//! The gateway's protocol, version 4: JSON in text frames.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Refusal;

/// The version that is spoken here.
const PROTOCOL: u32 = 4;

/// What the gateway sends.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// The event that opens the handshake.
    Challenge,
    /// The answer to a request.
    Answer { id: u64, outcome: Result<Value, Refusal> },
    /// Something else, e.g. an event that nobody here waits for.
    Other,
}

/// The members by which frames are told apart. The others are skipped without being kept: an event may be large.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    ok: bool,
    payload: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    details: Option<Value>,
    retryable: Option<bool>,
    retry_after_ms: Option<u64>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let detail = |name| failure.details.as_ref()?.get(name)?.as_str().map(str::to_owned);
        Self {
            detail: detail("code"),
            reason: detail("reason"),
            code: failure.code,
            retryable: failure.retryable,
            retry_after: failure.retry_after_ms.map(Duration::from_millis),
            message: failure.message,
        }
    }
}

/// Reads one frame; `None` if the gateway would never send it.
pub(super) fn read(text: &[u8]) -> Option<Incoming> {
    let head: Head<'_> = serde_json::from_slice(text).ok()?;
    match (&*head.r#type, head.event.as_deref()) {
        ("event", Some("connect.challenge")) => Some(Incoming::Challenge),
        ("res", _) => {
            let answer: Answer = serde_json::from_slice(text).ok()?;
            // Not one of ours: an answer to nobody.
            let Ok(id) = answer.id.parse() else { return Some(Incoming::Other) };
            let outcome = if answer.ok {
                Ok(answer.payload.unwrap_or_default())
            } else {
                Err(answer.error.map(Refusal::from).unwrap_or_default())
            };
            Some(Incoming::Answer { id, outcome })
        }
        _ => Some(Incoming::Other),
    }
}

/// A request.
pub(super) fn request(id: u64, method: &str, params: &Value) -> String {
    json!({ "type": "req", "id": id.to_string(), "method": method, "params": params }).to_string()
}

/// The parameters of `connect`. The client's id is one of those that the gateway knows; the mode `backend` needs no
/// pairing.
pub(super) fn connect(token: &str) -> Value {
    json!({
        "minProtocol": PROTOCOL,
        "maxProtocol": PROTOCOL,
        "client": {
            "id": "gateway-client",
            "version": env!("CARGO_PKG_VERSION"),
            "platform": std::env::consts::OS,
            "mode": "backend",
        },
        "role": "operator",
        "scopes": ["operator.read", "operator.write"],
        "caps": [],
        "auth": { "token": token },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_and_what_is_unknown_is_skipped() {
        let read = |text: &str| read(text.as_bytes());
        assert_eq!(read(r#"{"type":"event","event":"connect.challenge","payload":{}}"#), Some(Incoming::Challenge));
        assert_eq!(read(r#"{"type":"event","event":"tick","payload":{"id":7}}"#), Some(Incoming::Other));
        assert_eq!(read(r#"{"type":"news","id":7}"#), Some(Incoming::Other));
        assert_eq!(read(r#"{"type":"res","id":"x7","ok":true}"#), Some(Incoming::Other));
        let answer = Incoming::Answer { id: 7, outcome: Ok(json!({"a": 1})) };
        assert_eq!(read(r#"{"payload":{"a":1},"ok":true,"id":"7","type":"res"}"#), Some(answer));
        let nothing = Incoming::Answer { id: 7, outcome: Ok(Value::Null) };
        assert_eq!(read(r#"{"type":"res","id":"7","ok":true}"#), Some(nothing));
        let refusal = Incoming::Answer { id: 7, outcome: Err(Refusal::default()) };
        assert_eq!(read(r#"{"type":"res","id":"7","ok":false,"error":{"details":7}}"#), Some(refusal));
        for garbage in ["", "7", "{}", "null", "[]", "{\"type\":7}", r#"{"type":"res","id":7,"ok":true}"#, "\u{0}"] {
            assert_eq!(read(garbage), None, "{garbage}");
        }
        assert_eq!(super::read(b"\xff{}"), None);
    }

    #[test]
    fn an_error_is_read_with_its_details() {
        let text = r#"{"type":"res","id":"1","ok":false,"error":{"code":"UNAVAILABLE","message":"m","retryable":true,
            "retryAfterMs":500,"details":{"code":"C","reason":"R"}}}"#;
        let Some(Incoming::Answer { outcome: Err(refusal), .. }) = read(text.as_bytes()) else { panic!("an error") };
        let expected = Refusal {
            code: "UNAVAILABLE".to_owned(),
            detail: Some("C".to_owned()),
            reason: Some("R".to_owned()),
            retryable: Some(true),
            retry_after: Some(Duration::from_millis(500)),
            message: "m".to_owned(),
        };
        assert_eq!(refusal, expected);
    }
}
