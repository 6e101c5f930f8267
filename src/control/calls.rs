//! What the calls do. Everything that is only shown comes from published snapshots; the store is read off this thread.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, Data},
};
use ograph_dispatcher_actors::store::StoreError;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Control, health, metrics,
    problem::{Problem, ProblemDetail},
    view::{
        ConfigView, DeliveriesView, DoneView, FlushRequest, FlushView, HealthView, PendingView, ProjectionsView,
        ReactionRequest, ReceiverView, ReloadView, SchedulerView, StatusView,
    },
};
use crate::{
    config::{self, LoadError},
    reload::ReloadError,
};

type Answer = Result<HttpResponse, Problem>;

/// How many deliveries are listed if nobody says.
const DELIVERIES: usize = 50;
const MAX_DELIVERIES: usize = ograph_dispatcher_actors::store::DELIVERIES_KEPT;

pub(super) async fn healthz() -> HttpResponse {
    json(&HealthView { ok: true, warnings: Vec::new() })
}

pub(super) async fn readyz(control: Data<Control>) -> HttpResponse {
    let conditions = control.conditions(&control.handle.status());
    let (blocking, other): (Vec<_>, Vec<_>) = conditions.iter().partition(|condition| condition.blocks);
    // Names alone: everybody may ask, and what has gone wrong in detail is nobody's business.
    let mut reasons: Vec<_> = blocking.into_iter().map(|condition| condition.name).collect();
    let mut warnings: Vec<_> = other.into_iter().map(|condition| condition.name).collect();
    reasons.dedup();
    warnings.dedup();
    if reasons.is_empty() { json(&HealthView { ok: true, warnings }) } else { Problem::not_ready(reasons).response() }
}

pub(super) async fn metrics(control: Data<Control>) -> HttpResponse {
    let status = control.handle.status();
    let text = metrics::text(&metrics::Sources {
        conditions: &control.conditions(&status),
        status: &status,
        totals: &control.handle.totals(),
        now: control.clock.now().wall,
        started_at: control.started.wall,
        event_streams: control.history.listeners(),
    });
    HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text)
}

pub(super) async fn status(control: Data<Control>) -> HttpResponse {
    let status = control.handle.status();
    let conditions = control.conditions(&status);
    let now = control.clock.now();
    let known = control.reloader.known();
    json(&StatusView {
        version: env!("CARGO_PKG_VERSION"),
        build: env!("OGRAPH_DISPATCHER_BUILD"),
        pid: std::process::id(),
        now: now.wall,
        started_at: control.started.wall,
        uptime_ms: u64::try_from(now.mono.saturating_sub(control.started.mono).as_millis()).unwrap_or(u64::MAX),
        ready: !conditions.iter().any(|condition| condition.blocks),
        actors: status.actors.iter().map(|(name, actor)| ((*name).to_owned(), actor.into())).collect(),
        watcher: (&status).into(),
        scheduler: SchedulerView::new(&status, &conditions, now.wall),
        receivers: status.receivers.iter().map(|receiver| ReceiverView::new(receiver, now.wall)).collect(),
        config: ConfigView {
            file: known.file.map(|file| file.display().to_string()),
            since: known.since,
            refused: known.refused.map(|refused| refused.message),
        },
        webhook: format!("/v1/hooks/ograph?key={}", control.gate.hook_key()),
        conditions,
    })
}

pub(super) async fn projections(control: Data<Control>) -> Answer {
    let handle = control.handle.clone();
    let projections = from_store(move || handle.projections()).await?;
    Ok(json(&ProjectionsView { projections: projections.into_iter().map(Into::into).collect() }))
}

pub(super) async fn pending(control: Data<Control>) -> HttpResponse {
    let receivers = control.handle.pending().into_iter().map(Into::into).collect();
    json(&PendingView { receivers })
}

pub(super) async fn deliveries(control: Data<Control>, request: HttpRequest) -> Answer {
    let limit = limit(request.query_string())?;
    let handle = control.handle.clone();
    let deliveries = from_store(move || handle.deliveries(limit)).await?;
    Ok(json(&DeliveriesView { deliveries: deliveries.into_iter().map(Into::into).collect() }))
}

pub(super) async fn flush(control: Data<Control>, body: Bytes) -> Answer {
    let FlushRequest { when_available } = read(&body)?;
    let flushed =
        if when_available { control.handle.flush_when_available().await } else { control.handle.flush().await };
    Ok(json(&FlushView::from(flushed?)))
}

pub(super) async fn poll(control: Data<Control>) -> Answer {
    control.handle.poll().await?;
    Ok(done())
}

pub(super) async fn pause(control: Data<Control>) -> Answer {
    control.handle.pause().await?;
    Ok(done())
}

pub(super) async fn resume(control: Data<Control>) -> Answer {
    control.handle.resume().await?;
    Ok(done())
}

pub(super) async fn reload(control: Data<Control>) -> Answer {
    let reloaded = control.reloader.reload().await.map_err(refused)?;
    let warnings = reloaded.warnings.iter().map(detail).collect();
    Ok(json(&ReloadView { warnings, after_restart: reloaded.after_restart }))
}

pub(super) async fn events(control: Data<Control>, request: HttpRequest) -> Answer {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let Some(events) = control.history.listen(last) else {
        let detail = "too many listen already; close a page, or try again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        // Proxies that gather would hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(events))
}

pub(super) async fn reaction(control: Data<Control>, body: Bytes) -> Answer {
    if body.trim_ascii().is_empty() {
        return Err(Problem::bad_request("the body must be OGraph's JSON"));
    }
    let _: ReactionRequest = read(&body)?;
    control.wish.wish();
    Ok(HttpResponse::Accepted().json(DoneView { ok: true }))
}

pub(super) async fn openapi() -> HttpResponse {
    json(super::openapi::document())
}

fn json(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

fn done() -> HttpResponse {
    json(&DoneView { ok: true })
}

/// Reads a body; none at all means the defaults.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // An object, and nothing that serde would take for one.
    let members: Result<serde_json::Map<_, _>, _> = serde_json::from_slice(body);
    members
        .and_then(|members| serde_json::from_value(members.into()))
        .map_err(|error| Problem::bad_request(format!("the body is not understood: {error}")))
}

/// Reads `limit` from a query.
fn limit(query: &str) -> Result<usize, Problem> {
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("limit=")) else { return Ok(DELIVERIES) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_DELIVERIES).contains(limit));
    limit.ok_or_else(|| Problem::bad_request(format!("limit must be a whole number from 1 to {MAX_DELIVERIES}")))
}

/// Reads from the store where it may block.
async fn from_store<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let unavailable = |error: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error);
    match web::block(work).await {
        Ok(result) => result.map_err(|error| unavailable(error.to_string())),
        Err(_) => Err(unavailable("the server is stopping".to_owned())),
    }
}

fn refused(error: ReloadError) -> Problem {
    let problem = |detail: String| Problem::bad_request(format!("the configuration before stays in force: {detail}"));
    match error {
        ReloadError::Invalid(LoadError::Invalid(problems)) => {
            let errors: Vec<_> = problems.errors.iter().map(detail).collect();
            let detail = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
            problem(detail).with(errors)
        }
        ReloadError::Invalid(LoadError::FirstRun(path)) => problem(format!("{} is gone", path.display())),
        ReloadError::Unusable(message) => problem(message),
        ReloadError::Control(error) => error.into(),
    }
}

fn detail(problem: &config::Problem) -> ProblemDetail {
    ProblemDetail { place: problem.place.to_string(), path: problem.path.clone(), detail: problem.message.clone() }
}

impl Control {
    /// Everything that is not as it should be.
    fn conditions(&self, status: &ograph_dispatcher_actors::status::Status) -> Vec<health::Condition> {
        health::conditions(status, &self.outside(), self.clock.now().wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        assert_eq!(limit("").unwrap(), DELIVERIES);
        assert_eq!(limit("a=b&limit=7").unwrap(), 7);
        for wrong in ["limit=", "limit=0", "limit=-1", "limit=1001", "limit=1e2", "limit=99999999999999999999"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_body_is_an_empty_one_and_a_wrong_one_is_refused() {
        assert!(!read::<FlushRequest>(b" \n").unwrap().when_available);
        assert!(read::<FlushRequest>(br#"{"whenAvailable":true}"#).unwrap().when_available);
        for wrong in ["[", "[]", "{\"whenAvailable\":1}", "{\"when_available\":true}", "null", "\u{0}"] {
            assert!(read::<FlushRequest>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
