//! An OGraph stand-in: projections that can be read as in the real engine, and set by anybody on this machine.
//!
//! | Call | Answer |
//! |---|---|
//! | `GET /health` | 200, no token needed |
//! | `GET /projections` | the names and parameters of all |
//! | `GET /projections/{name}?params` | the projection, with an `ETag`; 304 if it is still the one of `If-None-Match`; 404 |
//! | `PUT /projections/{name}?params` | sets the value to the JSON body; 201 if it is new, else 204 |
//! | `DELETE /projections/{name}?params` | 204, or 404 if there is none |
//!
//! Reading takes the bearer token, as in the real engine. `PUT` and `DELETE` exist only here and take none, so that a
//! change is one short command: `curl -X PUT http://127.0.0.1:PORT/projections/NAME -d '{"x":1}'`. The server listens
//! on loopback and holds nothing but the story, so there is nothing to protect.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, EntityTag, Header as _, IfNoneMatch},
    },
    web::{self, Bytes, ServiceConfig},
};
use ograph_dispatcher_actors::{
    clock::{Clock as _, SystemClock},
    model::{
        key::{InvalidProjection, Projection, ProjectionKey},
        time::Timestamp,
        value,
    },
};
use serde_json::{Value, json};

use super::server::{LocalServer, is_authorized};

/// A running OGraph stand-in. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct OGraphStandIn {
    engine: Arc<Engine>,
    server: LocalServer,
}

/// What setting a projection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// There was no such projection before.
    Created,
    /// It had a value before.
    Replaced,
}

impl OGraphStandIn {
    /// Starts one without projections on a free loopback port, inside the current actix system.
    ///
    /// # Errors
    /// If no port or no thread is to be had.
    pub(crate) fn start(token: impl Into<String>) -> io::Result<Self> {
        let engine = Arc::new(Engine { token: token.into(), clock: SystemClock::new(), graph: Mutex::default() });
        let data = web::Data::from(Arc::clone(&engine));
        let server = LocalServer::start(move |config| routes(config, data))?;
        Ok(Self { engine, server })
    }

    /// Its address, e.g. `http://127.0.0.1:40123`: what belongs into `ograph.endpoint`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Sets the value of a projection, given as `name` or `name?param=value`.
    ///
    /// # Errors
    /// If that names no projection.
    pub(crate) fn put(&self, projection: &str, value: Value) -> Result<Put, InvalidProjection> {
        Ok(self.engine.put(projection.parse()?, value))
    }

    /// Removes a projection; `false` if there was none.
    ///
    /// # Errors
    /// If the text names no projection.
    pub(crate) fn remove(&self, projection: &str) -> Result<bool, InvalidProjection> {
        let projection: Projection = projection.parse()?;
        Ok(self.engine.remove(&projection))
    }

    /// Stops it at once. Returns when its port is free again.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

/// What the requests share.
#[derive(Debug)]
struct Engine {
    token: String,
    clock: SystemClock,
    /// Held for a lookup or an insertion, never across an await.
    graph: Mutex<Graph>,
}

#[derive(Debug, Default)]
struct Graph {
    nodes: BTreeMap<ProjectionKey, Node>,
    /// Every change is one event, and ids strictly increase.
    last_event_id: u64,
}

#[derive(Debug)]
struct Node {
    projection: Projection,
    value: Value,
    last_event_id: u64,
    created_at: Timestamp,
}

impl Engine {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        // No code that holds the lock can panic halfway through a change.
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, projection: Projection, value: Value) -> Put {
        let mut graph = self.graph();
        graph.last_event_id += 1;
        let node = Node {
            value,
            last_event_id: graph.last_event_id,
            created_at: self.clock.now().wall,
            projection: projection.clone(),
        };
        match graph.nodes.insert(projection.key, node) {
            None => Put::Created,
            Some(_) => Put::Replaced,
        }
    }

    fn remove(&self, projection: &Projection) -> bool {
        let mut graph = self.graph();
        let removed = graph.nodes.remove(&projection.key).is_some();
        graph.last_event_id += u64::from(removed);
        removed
    }

    fn get(&self, projection: &Projection) -> Option<String> {
        let graph = self.graph();
        let node = graph.nodes.get(&projection.key)?;
        let answer = json!({
            "name": node.projection.name,
            "params": node.projection.params,
            "value": node.value,
            "last_event_id": node.last_event_id,
            "created_at": node.created_at,
        });
        Some(answer.to_string())
    }

    fn list(&self) -> Value {
        let graph = self.graph();
        let entry = |node: &Node| json!({"name": node.projection.name, "params": node.projection.params});
        json!({"projections": graph.nodes.values().map(entry).collect::<Vec<_>>()})
    }
}

fn routes(config: &mut ServiceConfig, engine: web::Data<Engine>) {
    config
        .app_data(engine)
        .route("/health", web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "ok"})) }))
        .route("/projections", web::get().to(list))
        .service(
            web::resource("/projections/{name}")
                .route(web::get().to(read))
                .route(web::put().to(set))
                .route(web::delete().to(unset))
                .default_service(web::to(no_such_method)),
        )
        .default_service(web::to(no_such_path));
}

async fn list(request: HttpRequest, engine: web::Data<Engine>) -> HttpResponse {
    if !is_authorized(&request, &engine.token) {
        return unauthorized();
    }
    HttpResponse::Ok().json(engine.list())
}

async fn read(request: HttpRequest, name: web::Path<String>, engine: web::Data<Engine>) -> HttpResponse {
    if !is_authorized(&request, &engine.token) {
        return unauthorized();
    }
    let projection = match addressed(&request, name.into_inner()) {
        Ok(projection) => projection,
        Err(invalid) => return error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    let Some(body) = engine.get(&projection) else {
        return unknown(&projection);
    };
    let tag = EntityTag::new_strong(value::body_hash(body.as_bytes()).to_string());
    if is_current(&request, &tag) {
        return HttpResponse::NotModified().insert_header(header::ETag(tag)).finish();
    }
    HttpResponse::Ok().insert_header(header::ETag(tag)).content_type("application/json").body(body)
}

async fn set(
    request: HttpRequest,
    name: web::Path<String>,
    body: Result<Bytes, actix_web::Error>,
    engine: web::Data<Engine>,
) -> HttpResponse {
    let projection = match addressed(&request, name.into_inner()) {
        Ok(projection) => projection,
        Err(invalid) => return error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    let body = match body {
        Ok(body) => body,
        Err(failed) => return error(failed.as_response_error().status_code(), &failed.to_string()),
    };
    let value = match value::parse(&body) {
        Ok(value) => value,
        Err(invalid) => return error(StatusCode::BAD_REQUEST, &format!("the body is no value: {invalid}")),
    };
    match engine.put(projection, value) {
        Put::Created => HttpResponse::Created().finish(),
        Put::Replaced => HttpResponse::NoContent().finish(),
    }
}

async fn unset(request: HttpRequest, name: web::Path<String>, engine: web::Data<Engine>) -> HttpResponse {
    match addressed(&request, name.into_inner()) {
        Ok(projection) if engine.remove(&projection) => HttpResponse::NoContent().finish(),
        Ok(projection) => unknown(&projection),
        Err(invalid) => error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    }
}

async fn no_such_method(request: HttpRequest) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header(header::Allow(vec![Method::GET, Method::PUT, Method::DELETE]))
        .json(message(&format!("no {} here", request.method())))
}

async fn no_such_path(request: HttpRequest, engine: web::Data<Engine>) -> HttpResponse {
    if !is_authorized(&request, &engine.token) {
        return unauthorized();
    }
    error(StatusCode::NOT_FOUND, "Not found")
}

/// The projection that path and query name; the order of the parameters makes no difference.
fn addressed(request: &HttpRequest, name: String) -> Result<Projection, InvalidProjection> {
    let Projection { params, .. } = format!("any?{}", request.query_string()).parse()?;
    Projection::new(name, params)
}

fn is_current(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

fn unauthorized() -> HttpResponse {
    error(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn unknown(projection: &Projection) -> HttpResponse {
    error(StatusCode::NOT_FOUND, &format!("there is no projection {}", projection.key))
}

fn error(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(self::message(message))
}

fn message(message: &str) -> Value {
    json!({"error": {"message": message}})
}

#[cfg(test)]
mod tests;
