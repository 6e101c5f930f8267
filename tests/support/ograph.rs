//! OGraph as a test server: every projection has a value and, if wanted, a fault, both switchable at any time.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Answer, Reply, Request, TestServer, wait_until};

/// A running OGraph. Projections are named as in a URL, `name` or `name?param=value`, parameters sorted by name.
pub(crate) struct OGraph {
    server: TestServer,
    world: Arc<Mutex<World>>,
}

struct World {
    token: String,
    etag: bool,
    gzip: bool,
    /// The values as JSON text, so that tests decide about white space, key order and digits.
    values: BTreeMap<String, Stored>,
    /// Each with the number of requests it is left for.
    faults: HashMap<String, (Reply, usize)>,
    fault_for_all: Option<Reply>,
    last_event_id: u64,
}

struct Stored {
    json: String,
    last_event_id: u64,
}

impl OGraph {
    /// The token that it accepts.
    pub(crate) const TOKEN: &str = "ograph-test-token";

    /// Starts one without projections, with ETags, without compression.
    pub(crate) fn start() -> Self {
        let world = Arc::new(Mutex::new(World {
            token: Self::TOKEN.to_owned(),
            etag: true,
            gzip: false,
            values: BTreeMap::new(),
            faults: HashMap::new(),
            fault_for_all: None,
            last_event_id: 0,
        }));
        let server = TestServer::start({
            let world = Arc::clone(&world);
            move |request| lock(&world).reply(request)
        });
        Self { server, world }
    }

    /// What belongs into `ograph.endpoint`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Gives a projection a value.
    pub(crate) fn set(&self, projection: &str, value: &Value) {
        self.set_text(projection, &value.to_string());
    }

    /// Gives a projection a value, written exactly like this.
    pub(crate) fn set_text(&self, projection: &str, json: &str) {
        let mut world = lock(&self.world);
        world.last_event_id += 1;
        let stored = Stored { json: json.to_owned(), last_event_id: world.last_event_id };
        world.values.insert(projection.to_owned(), stored);
    }

    /// From now on there is no such projection: 404.
    pub(crate) fn remove(&self, projection: &str) {
        lock(&self.world).values.remove(projection);
    }

    /// From now on requests for this projection end like this; `None` ends the fault.
    pub(crate) fn fault(&self, projection: &str, fault: impl Into<Option<Reply>>) {
        match fault.into() {
            Some(fault) => self.fault_next(usize::MAX, projection, fault),
            None => drop(lock(&self.world).faults.remove(projection)),
        }
    }

    /// The next `times` requests for this projection end like this.
    pub(crate) fn fault_next(&self, times: usize, projection: &str, fault: impl Into<Reply>) {
        lock(&self.world).faults.insert(projection.to_owned(), (fault.into(), times));
    }

    /// From now on all requests end like this; `None` ends the fault.
    pub(crate) fn fault_for_all(&self, fault: impl Into<Option<Reply>>) {
        lock(&self.world).fault_for_all = fault.into();
    }

    /// Whether answers have an `ETag` and may be 304.
    pub(crate) fn use_etags(&self, etag: bool) {
        lock(&self.world).etag = etag;
    }

    /// Whether answers are compressed for clients that accept it.
    pub(crate) fn use_gzip(&self, gzip: bool) {
        lock(&self.world).gzip = gzip;
    }

    /// The only token that is accepted from now on.
    pub(crate) fn accept_token(&self, token: &str) {
        token.clone_into(&mut lock(&self.world).token);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// How often a projection was asked for.
    pub(crate) fn polls(&self, projection: &str) -> usize {
        self.server.count(&target(projection))
    }

    /// How many requests for this projection have no answer right now.
    pub(crate) fn unanswered(&self, projection: &str) -> usize {
        self.server.unanswered(&target(projection))
    }

    /// The requests that arrived while an earlier one for the same projection had no answer.
    pub(crate) fn overlapping(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.overlapping > 0).collect()
    }

    /// Waits until each of these projections was asked for `times` more often than now.
    ///
    /// As polls of one projection never overlap, `times = 2` means that an answer given after the call was processed.
    #[track_caller]
    pub(crate) fn wait_for_polls(&self, projections: &[&str], times: usize, deadline: Duration) {
        let wanted: Vec<_> = projections.iter().map(|name| (target(name), self.polls(name) + times)).collect();
        wait_until(deadline, &format!("{times} more polls of {projections:?}"), || {
            wanted.iter().all(|(target, polls)| self.server.count(target) >= *polls)
        });
    }
}

impl World {
    fn reply(&mut self, request: &Request) -> Reply {
        if request.path() == "/health" {
            return Answer::json(200, &json!({"status": "ok"})).into();
        }
        if !request.bears(&self.token) {
            return Answer::json(401, &json!({"error": {"message": "Unauthorized"}})).into();
        }
        let Some(projection) = request.target.strip_prefix("/projections/").filter(|_| request.method == "GET") else {
            return not_found();
        };
        if let Some((fault, left)) = self.faults.get_mut(projection).filter(|(_, left)| *left > 0) {
            *left -= 1;
            return fault.clone();
        }
        if let Some(fault) = &self.fault_for_all {
            return fault.clone();
        }
        let Some(stored) = self.values.get(projection) else { return not_found() };
        self.answer(projection, stored, request).into()
    }

    fn answer(&self, projection: &str, stored: &Stored, request: &Request) -> Answer {
        let (name, query) = projection.split_once('?').unwrap_or((projection, ""));
        let params: serde_json::Map<String, Value> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        let body = format!(
            r#"{{"name":{},"params":{},"value":{},"last_event_id":{},"created_at":"2026-03-01T10:00:00.000Z"}}"#,
            json!(name),
            json!(params),
            stored.json,
            stored.last_event_id
        );
        let mut answer = Answer::text(200, "application/json", body);
        if self.etag {
            let mut hasher = DefaultHasher::new();
            answer.body.hash(&mut hasher);
            let tag = format!("\"{:016x}\"", hasher.finish());
            if request.header("if-none-match") == Some(tag.as_str()) {
                return Answer::empty(304).header("etag", &tag);
            }
            answer = answer.header("etag", &tag);
        }
        let accepts_gzip = request.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
        if self.gzip && accepts_gzip { answer.gzip() } else { answer }
    }
}

fn target(projection: &str) -> String {
    format!("/projections/{projection}")
}

fn not_found() -> Reply {
    Answer::json(404, &json!({"error": {"message": "Not found"}})).into()
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
