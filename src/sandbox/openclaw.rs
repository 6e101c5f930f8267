//! An OpenClaw stand-in: slots that the story fills and frees, and a plugin route that takes dispatch documents.
//!
//! | Call | Answer |
//! |---|---|
//! | `GET /plugins/session-status/status` | `{"max":N,"active":M,"available":N-M}` |
//! | `POST /plugins/ograph/dispatch` | keeps the document; `{"ok":true,"runId":"…"}` |
//! | any other `GET` | 200 `text/html`: the real gateway serves its web page there |
//!
//! Both routes take the bearer token.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web::{self, Bytes, ServiceConfig},
};
use serde_json::{Value, json};

use super::server::{LocalServer, is_authorized};

/// Where the availability is asked for.
const STATUS_PATH: &str = "/plugins/session-status/status";
/// Where documents are delivered.
const DISPATCH_PATH: &str = "/plugins/ograph/dispatch";
/// How many documents are kept: a sandbox may run for days.
const KEPT: usize = 100;

/// A running OpenClaw stand-in. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct OpenClawStandIn {
    gateway: Arc<Gateway>,
    server: LocalServer,
}

impl OpenClawStandIn {
    /// Starts an idle one with `slots` slots on a free loopback port, inside the current actix system.
    ///
    /// # Errors
    /// If no port or no thread is to be had.
    pub(crate) fn start(token: impl Into<String>, slots: u64) -> io::Result<Self> {
        let gateway = Arc::new(Gateway { token: token.into(), slots, state: Mutex::default() });
        let data = web::Data::from(Arc::clone(&gateway));
        let server = LocalServer::start(move |config| routes(config, data))?;
        Ok(Self { gateway, server })
    }

    /// What belongs into `oc.statusEndpoint`.
    pub(crate) fn status_endpoint(&self) -> String {
        self.server.url() + STATUS_PATH
    }

    /// What belongs into the `url` of an `oc-plugin` receiver.
    pub(crate) fn dispatch_endpoint(&self) -> String {
        self.server.url() + DISPATCH_PATH
    }

    /// Fills so many slots; more than there are means all.
    pub(crate) fn set_busy(&self, active: u64) {
        self.gateway.state().active = active.min(self.gateway.slots);
    }

    /// The last 100 documents that were delivered, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<Value> {
        self.gateway.state().documents.iter().cloned().collect()
    }

    /// Stops it at once. Returns when its port is free again.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// What the requests share.
#[derive(Debug)]
struct Gateway {
    token: String,
    slots: u64,
    /// Held for a read or a push, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Never more than there are slots.
    active: u64,
    /// How many documents were ever delivered.
    delivered: u64,
    /// The last of them, never more than [`KEPT`].
    documents: VecDeque<Value>,
}

impl Gateway {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn routes(config: &mut ServiceConfig, gateway: web::Data<Gateway>) {
    config
        .app_data(gateway)
        .route(STATUS_PATH, web::get().to(status))
        .route(DISPATCH_PATH, web::post().to(dispatch))
        .default_service(web::to(elsewhere));
}

async fn status(request: HttpRequest, gateway: web::Data<Gateway>) -> HttpResponse {
    if !is_authorized(&request, &gateway.token) {
        return unauthorized();
    }
    let (max, active) = (gateway.slots, gateway.state().active);
    HttpResponse::Ok().json(json!({"max": max, "active": active, "available": max - active}))
}

async fn dispatch(
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    if !is_authorized(&request, &gateway.token) {
        return unauthorized();
    }
    let body = match body {
        Ok(body) => body,
        Err(failed) => return error(failed.as_response_error().status_code(), &failed.to_string(), "invalid_request"),
    };
    let document = match serde_json::from_slice::<Value>(&body) {
        Ok(document) if document.is_object() => document,
        Ok(_) => return error(StatusCode::BAD_REQUEST, "not a JSON object", "invalid_request"),
        Err(invalid) => {
            return error(StatusCode::BAD_REQUEST, &format!("not JSON: {invalid}"), "invalid_request");
        }
    };
    let mut state = gateway.state();
    if state.documents.len() == KEPT {
        state.documents.pop_front();
    }
    state.documents.push_back(document);
    state.delivered += 1;
    HttpResponse::Ok().json(json!({"ok": true, "runId": format!("run-{}", state.delivered)}))
}

async fn elsewhere(request: HttpRequest) -> HttpResponse {
    if request.method() == Method::GET && !request.path().starts_with("/plugins/") {
        HttpResponse::Ok().content_type("text/html; charset=utf-8").body("<!doctype html><title>OpenClaw</title>")
    } else {
        HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("Not Found")
    }
}

fn unauthorized() -> HttpResponse {
    error(StatusCode::UNAUTHORIZED, "Unauthorized", "unauthorized")
}

fn error(status: StatusCode, message: &str, kind: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": {"message": message, "type": kind}}))
}

#[cfg(test)]
mod tests;
