//! Errors as RFC 9457 puts them: `application/problem+json`.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use ograph_dispatcher_actors::messages::ControlError;
use schemars::JsonSchema;
use serde::Serialize;

/// The media type.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong with a call.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    #[serde(serialize_with = "number")]
    #[schemars(with = "u16")]
    status: StatusCode,
    /// What happened, and what to do about it.
    detail: String,
    /// Every single error, if there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemDetail>,
    /// The names of the conditions that keep the dispatcher from being ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

/// One of several errors.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ProblemDetail {
    /// Where: a file with line and column, a variable or a flag.
    pub(super) place: String,
    /// Which setting, if one is meant.
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status, detail: detail.into(), errors: Vec::new(), reasons: Vec::new() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn with(self, errors: Vec<ProblemDetail>) -> Self {
        Self { errors, ..self }
    }

    /// The dispatcher is not ready.
    pub(super) fn not_ready(reasons: Vec<&'static str>) -> Self {
        let detail = format!("not ready: {}", reasons.join(", "));
        Self { reasons, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// The answer.
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"ograph-dispatcher\""));
        }
        // A problem is text and numbers, which are always JSON.
        response.content_type(CONTENT_TYPE).body(serde_json::to_string(self).unwrap_or_default())
    }
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::Busy(_) => StatusCode::CONFLICT,
            ControlError::Setup(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
