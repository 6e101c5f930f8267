//! What holds for every request and every answer: the `Host`, the token, headers, and errors in one form.

use actix_web::{
    ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use super::{
    Control,
    problem::{self, Problem},
    routes::{self, Access},
};

/// Nothing that is answered may be kept, guessed at, embedded or executed. The page brings a policy of its own.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The middleware around every call.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let refused = request.app_data::<Data<Control>>().and_then(|control| refuse(control, &request));
    let mut answer = match refused {
        Some(problem) => {
            let response = problem.response();
            request.into_response(response)
        }
        None => {
            let (request_head, path) = (request.request().clone(), request.path().to_owned());
            match next.call(request).await {
                Ok(answer) => as_problem(answer.map_into_boxed_body(), &path),
                Err(error) => {
                    let status = error.as_response_error().status_code();
                    ServiceResponse::new(request_head, explain(status, &path).error_response())
                }
            }
        }
    };
    protect(answer.headers_mut());
    Ok(answer)
}

/// Why a request is not let through.
fn refuse(control: &Control, request: &ServiceRequest) -> Option<Problem> {
    let hosts = request.headers().get_all(header::HOST).map(|host| host.to_str().ok());
    if !control.hosts.admit(hosts, request.uri()) {
        let detail = "this server does not answer under that name; use the address it listens on, or localhost";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let admitted = match routes::access(request.path()) {
        Access::Everybody => return None,
        Access::Hook if control.gate.admits_hook(request.query_string()) => return None,
        Access::Hook | Access::Token => {
            let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            control.gate.admits(authorization)
        }
    };
    let detail = "send `Authorization: Bearer <token>`; the token is in control.json in the state folder";
    (!admitted).then(|| Problem::new(StatusCode::UNAUTHORIZED, detail))
}

/// Errors that the framework answers get the same form as ours.
fn as_problem(answer: ServiceResponse, path: &str) -> ServiceResponse {
    let status = answer.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = |content_type: &HeaderValue| content_type == problem::CONTENT_TYPE;
    if !is_error || answer.headers().get(header::CONTENT_TYPE).is_some_and(is_problem) {
        return answer;
    }
    let allow = answer.headers().get(header::ALLOW).cloned();
    let mut explained = explain(status, path).response();
    if let Some(allow) = allow {
        explained.headers_mut().insert(header::ALLOW, allow);
    }
    answer.into_response(explained)
}

fn explain(status: StatusCode, path: &str) -> Problem {
    let detail = match status {
        StatusCode::NOT_FOUND => "there is no such call; GET /v1/openapi.json lists all".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "the call exists, but not with this method; see `Allow`".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the body may have {} bytes at most", routes::max_body(path))
        }
        _ if status.is_client_error() => "the request could not be read".to_owned(),
        _ => "the control server failed; see the log".to_owned(),
    };
    Problem::new(status, detail)
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
