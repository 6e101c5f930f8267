//! What comes back, and how it is put into words.

use awc::{
    ClientResponse,
    error::PayloadError,
    http::{StatusCode, header},
};
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;

use super::{body::Collector, connect::Progress, error::HttpError};
use crate::secret::Secret;

/// How much of a peer's own message is shown, in characters.
const COMPLAINT: usize = 200;

/// No larger body is searched for such a message, in bytes.
const COMPLAINT_BODY: usize = 64 * 1024;

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The entity tag.
    pub etag: Option<String>,
    /// `Retry-After` as it was sent.
    pub retry_after: Option<String>,
    /// `Content-Type` as it was sent.
    pub content_type: Option<String>,
    /// `Location` as it was sent.
    pub location: Option<String>,
    /// `Date` as it was sent.
    pub date: Option<String>,
    /// The whole body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    /// The status with its usual name, e.g. `503 Service Unavailable`.
    pub(crate) fn status_words(&self) -> String {
        StatusCode::from_u16(self.status).map_or_else(|_| self.status.to_string(), |status| status.to_string())
    }

    /// Whether this is a web page.
    pub(crate) fn is_html(&self) -> bool {
        let typed = self.content_type.as_deref().is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
        typed || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// What the peer's JSON has to say about its failure (`error.message`, `error` or `message`), in brackets and fit
    /// for a line of log: short, without control characters, and without `token`, should the peer repeat it.
    pub(crate) fn complaint(&self, token: Option<&Secret>) -> String {
        if self.body.len() > COMPLAINT_BODY {
            return String::new();
        }
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else { return String::new() };
        let found = ["/error/message", "/error", "/message"].iter().find_map(|at| body.pointer(at)?.as_str());
        let Some(text) = found.map(str::trim).filter(|text| !text.is_empty()) else { return String::new() };
        let text = match token.map(Secret::expose).filter(|token| !token.is_empty()) {
            Some(token) => text.replace(token, "…"),
            None => text.to_owned(),
        };
        let mut shown: String = text.chars().take(COMPLAINT).flat_map(char::escape_debug).collect();
        if text.chars().nth(COMPLAINT).is_some() {
            shown.push('…');
        }
        format!(" ({shown})")
    }
}

/// Reads the rest of an answer. (Generic, because awc's response is another type in builds that turn on its compression.)
pub(super) async fn read<S, B>(
    mut response: ClientResponse<S>,
    limit: usize,
    progress: &Progress,
) -> Result<Answer, HttpError>
where
    ClientResponse<S>: Stream<Item = Result<B, PayloadError>> + Unpin,
    B: AsRef<[u8]>,
{
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let mut answer = Answer {
        status,
        etag: text(header::ETAG),
        retry_after: text(header::RETRY_AFTER),
        content_type: text(header::CONTENT_TYPE),
        location: text(header::LOCATION),
        date: text(header::DATE),
        body: Vec::new(),
    };
    // These have no body, but may announce the length of the one that another answer would have had.
    if matches!(status, 204 | 304) {
        return Ok(answer);
    }
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    let mut body = Collector::new(text(header::CONTENT_ENCODING).as_deref(), announced, limit)?;
    let chunked = response.headers().contains_key(header::TRANSFER_ENCODING);
    while let Some(chunk) = response.next().await {
        body.push(chunk?.as_ref())?;
    }
    drop(response);
    // awc takes the end of the connection for the end of the chunks.
    if chunked && progress.ended() {
        return Err(HttpError::cut_off());
    }
    answer.body = body.finish()?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        let body = body.as_bytes().to_vec();
        Answer { status: 500, etag: None, retry_after: None, content_type: None, location: None, date: None, body }
    }

    #[test]
    fn a_complaint_is_short_and_harmless() {
        let token = Secret::new("s3cr3t");
        for (body, complaint) in [
            (r#"{"error":{"message":"Unauthorized"}}"#, " (Unauthorized)"),
            (r#"{"error":"no such thing","message":"x"}"#, " (no such thing)"),
            (r#"{"message":" busy\n"}"#, " (busy)"),
            (r#"{"message":"a\u001b[31mb\nc\u202e"}"#, r" (a\u{1b}[31mb\nc\u{202e})"),
            (r#"{"message":"bad token s3cr3t"}"#, " (bad token …)"),
            (r#"{"message":7}"#, ""),
            (r#"{"message":""}"#, ""),
            ("[]", ""),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(answer(body).complaint(Some(&token)), complaint, "{body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(10_000));
        assert_eq!(answer(&long).complaint(None).chars().count(), COMPLAINT + 4);
    }

    #[test]
    fn web_pages_are_recognised() {
        assert!(answer("\n <!doctype html>").is_html());
        assert!(Answer { content_type: Some("Text/HTML; charset=utf-8".to_owned()), ..answer("") }.is_html());
        assert!(!answer("{}").is_html());
    }

    #[test]
    fn a_status_has_words() {
        assert_eq!(answer("").status_words(), "500 Internal Server Error");
        assert_eq!(Answer { status: 799, ..answer("") }.status_words(), "799 <unknown status code>");
    }
}
