//! Every call in one table: it is registered, guarded and described by its line here, so nothing can drift apart.

use actix_web::{
    Route,
    web::{self, PayloadConfig, ServiceConfig},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    calls, page,
    problem::Problem,
    view::{
        DeliveriesView, DoneView, FlushRequest, FlushView, HealthView, PendingView, ProjectionsView, ReactionRequest,
        ReloadView, StatusView,
    },
};

/// The largest body of a call, in bytes.
const MAX_BODY: usize = 16 * 1024;
/// OGraph sends old and new value of a projection along.
const MAX_REACTION: usize = 4 * 1024 * 1024;

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody who can connect: nothing secret is answered.
    Everybody,
    /// Whoever has the token.
    Token,
    /// Whoever has the token or the webhook's key.
    Hook,
}

/// One call.
pub(super) struct Call {
    /// In lower case, as OpenAPI wants it.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    /// What is sent along, if anything.
    pub(super) request: Option<MakeSchema>,
    /// The status when all is well.
    pub(super) status: u16,
    pub(super) answer: Content,
    /// The errors that are special to it, with their meaning.
    pub(super) errors: &'static [(u16, &'static str)],
    route: fn() -> Route,
}

/// Makes the schema of a type.
pub(super) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What is answered.
pub(super) enum Content {
    Json(MakeSchema),
    Text(&'static str),
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of every error.
pub(super) fn problem_schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Problem>()
}

const fn get(path: &'static str, summary: &'static str, answer: Content, route: fn() -> Route) -> Call {
    Call { method: "get", path, access: Access::Token, summary, request: None, status: 200, answer, errors: &[], route }
}

const fn post(path: &'static str, summary: &'static str, answer: Content, route: fn() -> Route) -> Call {
    Call { method: "post", errors: &[UNAVAILABLE], ..get(path, summary, answer, route) }
}

const fn public(call: Call) -> Call {
    Call { access: Access::Everybody, ..call }
}

const UNAVAILABLE: (u16, &str) = (503, "an actor did not answer, or the state cannot be read or stored");

/// Every call there is.
pub(super) static CALLS: [Call; 16] = [
    public(get("/", "The status page", Content::Text("text/html"), || web::get().to(page::page))),
    public(get("/healthz", "Whether the process is alive", Content::Json(schema::<HealthView>), || {
        web::get().to(calls::healthz)
    })),
    Call {
        errors: &[(503, "it is not; the body names the reasons")],
        ..public(get("/readyz", "Whether it can do its job", Content::Json(schema::<HealthView>), || {
            web::get().to(calls::readyz)
        }))
    },
    get("/metrics", "Metrics for Prometheus", Content::Text("text/plain"), || web::get().to(calls::metrics)),
    get("/v1/status", "The state of everything", Content::Json(schema::<StatusView>), || web::get().to(calls::status)),
    Call {
        errors: &[UNAVAILABLE],
        ..get("/v1/projections", "Every watched projection", Content::Json(schema::<ProjectionsView>), || {
            web::get().to(calls::projections)
        })
    },
    get("/v1/pending", "What every receiver has still to be told", Content::Json(schema::<PendingView>), || {
        web::get().to(calls::pending)
    }),
    Call {
        errors: &[(400, "limit is not a number from 1 to 1000"), UNAVAILABLE],
        ..get(DELIVERIES, "The last deliveries, newest first", Content::Json(schema::<DeliveriesView>), || {
            web::get().to(calls::deliveries)
        })
    },
    get(EVENTS, "Everything as it happens: server-sent events", Content::Text("text/event-stream"), || {
        web::get().to(calls::events)
    }),
    Call {
        request: Some(schema::<FlushRequest>),
        errors: &[
            (400, "the body is not understood"),
            (409, "there is no room, and whenAvailable is set"),
            UNAVAILABLE,
        ],
        ..post("/v1/flush", "Polls once, then pushes now", Content::Json(schema::<FlushView>), || {
            web::post().to(calls::flush)
        })
    },
    post("/v1/poll", "Polls every projection now", Content::Json(schema::<DoneView>), || web::post().to(calls::poll)),
    post("/v1/pause", "Stops pushing; watching goes on", Content::Json(schema::<DoneView>), || {
        web::post().to(calls::pause)
    }),
    post("/v1/resume", "Resumes pushing", Content::Json(schema::<DoneView>), || web::post().to(calls::resume)),
    Call {
        errors: &[
            (400, "the configuration is wrong, the one before stays in force; all errors are listed"),
            UNAVAILABLE,
        ],
        ..post("/v1/reload", "Loads the configuration anew", Content::Json(schema::<ReloadView>), || {
            web::post().to(calls::reload)
        })
    },
    Call {
        access: Access::Hook,
        request: Some(schema::<ReactionRequest>),
        status: 202,
        errors: &[(400, "the body is not OGraph's JSON")],
        ..post(HOOK, "OGraph's reaction webhook: polls now", Content::Json(schema::<DoneView>), || {
            web::post().to(calls::reaction)
        })
    },
    get("/v1/openapi.json", "This document", Content::Text("application/json"), || web::get().to(calls::openapi)),
];

/// The call with a query.
pub(super) const DELIVERIES: &str = "/v1/deliveries";
/// The call with a header of its own.
pub(super) const EVENTS: &str = "/v1/events";
const HOOK: &str = "/v1/hooks/ograph";

/// Who may make calls to `path`; what does not exist is nobody's business without the token.
pub(super) fn access(path: &str) -> Access {
    CALLS.iter().find(|call| call.path == path).map_or(Access::Token, |call| call.access)
}

/// The largest body that `path` takes.
pub(super) fn max_body(path: &str) -> usize {
    if path == HOOK { MAX_REACTION } else { MAX_BODY }
}

/// Registers every call.
pub(super) fn configure(services: &mut ServiceConfig) {
    for call in &CALLS {
        let resource = web::resource(call.path).app_data(PayloadConfig::new(max_body(call.path)));
        services.service(resource.route((call.route)()));
    }
}
