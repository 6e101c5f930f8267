//! Everything around the daemon: an OGraph whose values move, an OpenClaw that is busy now and then, receivers that fail
//! in every way; and the record of what was said to whom.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{Answer, Reply, Request, TestServer, now, wait_until};

pub(crate) const PROJECTIONS: [&str; 6] = ["alpha", "beta", "gamma?id=1", "gamma?id=2", "delta", "epsilon"];

/// The one that comes and goes; not all of them, because an outage is no removal.
const FLEETING: &str = "epsilon";

pub(crate) const COOLDOWN: Duration = Duration::from_millis(800);

pub(crate) const MIN_AVAILABLE: u64 = 2;

pub(crate) struct World {
    server: TestServer,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    dice: fastrand::Rng,
    /// No faults, and room for everybody.
    calm: bool,
    slots: u64,
    next_value: u64,
    pub(crate) life: usize,
    /// When each life began.
    pub(crate) births: Vec<i64>,
    pub(crate) values: BTreeMap<String, Track>,
    pub(crate) answers: Vec<RoomAnswer>,
    pub(crate) deliveries: Vec<Delivery>,
    /// In these lives somebody asked for a push, whatever the state of things, at this index of the deliveries.
    pub(crate) flushes: BTreeMap<usize, usize>,
    last_delivery: Option<Instant>,
    file: PathBuf,
    inbox: PathBuf,
}

/// One projection.
#[derive(Default)]
pub(crate) struct Track {
    /// `null` if there is none.
    pub(crate) current: Value,
    /// Every value it ever had.
    past: Vec<Value>,
    /// What was told to whoever asked.
    pub(crate) served: Vec<Value>,
    pub(crate) baseline: Value,
    /// In the current life.
    polls: usize,
}

/// An answer of OpenClaw's status route.
pub(crate) struct RoomAnswer {
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) life: usize,
    pub(crate) enough: bool,
}

/// A document that arrived at an HTTP receiver.
pub(crate) struct Delivery {
    pub(crate) receiver: &'static str,
    pub(crate) at: i64,
    pub(crate) life: usize,
    pub(crate) document: Value,
    /// Whether the receiver believes it, whatever it answered.
    pub(crate) taken: bool,
    /// Whether the answer said that it certainly did not take it; then nobody needs to cool down.
    pub(crate) refused: bool,
}

impl World {
    pub(crate) fn new(dice: fastrand::Rng) -> Self {
        let track = |number: usize| Track { current: json!({"n": number}), ..Track::default() };
        let state = Arc::new(Mutex::new(State {
            dice,
            calm: true,
            slots: 9,
            next_value: 100,
            life: 0,
            births: vec![0],
            values: PROJECTIONS.iter().enumerate().map(|(number, name)| ((*name).to_owned(), track(number))).collect(),
            answers: Vec::new(),
            deliveries: Vec::new(),
            flushes: BTreeMap::new(),
            last_delivery: None,
            file: PathBuf::new(),
            inbox: PathBuf::new(),
        }));
        let server = TestServer::start({
            let state = Arc::clone(&state);
            move |request| lock(&state).reply(request)
        });
        Self { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The dispatch file, and the folder into which the command puts what it gets.
    pub(crate) fn watch(&self, file: &Path, inbox: &Path) {
        let mut state = self.state();
        file.clone_into(&mut state.file);
        inbox.clone_into(&mut state.inbox);
    }

    pub(crate) fn calm(&self, calm: bool) {
        self.state().calm = calm;
    }

    /// From here on everything belongs to the next life of the daemon; says which one that is.
    pub(crate) fn begin_life(&self) -> usize {
        let mut state = self.state();
        state.life += 1;
        state.births.push(millis());
        for track in state.values.values_mut() {
            track.polls = 0;
        }
        state.life
    }

    /// Waits until what the last life sent has arrived: it belongs to that life.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self) {
        wait_until(Duration::from_secs(20), "the connections of a dead daemon end", || self.server.is_idle());
    }

    /// Whether this life has seen every projection.
    pub(crate) fn has_polled(&self) -> bool {
        self.state().values.values().all(|track| track.polls > 0)
    }

    #[track_caller]
    pub(crate) fn wait_for_polls(&self, polls: usize) {
        wait_until(Duration::from_secs(20), "the baseline is polled", || {
            self.state().values.values().all(|track| track.polls >= polls)
        });
    }

    /// What is true now is what everybody knows.
    pub(crate) fn take_baseline(&self) {
        for track in self.state().values.values_mut() {
            track.baseline = track.current.clone();
        }
    }

    /// The status is not asked for any more from here on: somebody wants a push in this life.
    pub(crate) fn allow_anything(&self) {
        let mut state = self.state();
        let (life, index) = (state.life, state.deliveries.len());
        state.flushes.entry(life).or_insert(index);
    }

    pub(crate) fn delivered(&self) -> usize {
        self.state().deliveries.len()
    }

    pub(crate) fn is_quiet(&self, time: Duration) -> bool {
        self.state().last_delivery.is_none_or(|at| at.elapsed() > time)
    }

    /// Every projection gets a value that it never had.
    pub(crate) fn turn_all(&self) {
        let mut state = self.state();
        let State { values, next_value, .. } = &mut *state;
        for track in values.values_mut() {
            *next_value += 1;
            let previous = std::mem::replace(&mut track.current, json!({"n": next_value}));
            track.past.push(previous);
        }
    }

    /// Something changes.
    pub(crate) fn turn(&self, dice: &mut fastrand::Rng) {
        let mut state = self.state();
        match dice.u8(..40) {
            0 => state.slots = dice.u64(..5),
            1..=20 => {
                let name = PROJECTIONS[dice.usize(..PROJECTIONS.len())];
                state.next_value += 1;
                let fresh = json!({"n": state.next_value, "text": "é".repeat(dice.usize(..40))});
                let track = state.values.get_mut(name).expect("a projection");
                let value = match dice.u8(..10) {
                    0..4 if !track.past.is_empty() => dice.choice(&track.past).cloned().unwrap_or_default(),
                    4 | 5 if name == FLEETING => Value::Null,
                    _ => fresh,
                };
                let previous = std::mem::replace(&mut track.current, value);
                track.past.push(previous);
            }
            _ => {}
        }
    }

    /// What the command was given, in the order in which it was called.
    pub(crate) fn inbox(&self) -> Vec<Value> {
        let mut documents: Vec<_> = self.newest_in_inbox().collect();
        documents.reverse();
        documents
    }

    /// The same from the newest on; each is only read when it is wanted.
    pub(crate) fn newest_in_inbox(&self) -> impl Iterator<Item = Value> {
        let inbox = self.state().inbox.clone();
        let entries = fs::read_dir(inbox).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
        names.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
        names.sort();
        // One whose daemon died while it was writing is cut off, and the command could know it.
        names.into_iter().rev().filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
    }

    /// The document in the dispatch file.
    pub(crate) fn file(&self) -> Option<Value> {
        let text = fs::read(self.state().file.clone()).ok()?;
        Some(serde_json::from_slice(&text).expect("a reader never sees half a document"))
    }

    /// Records a delivery that was taken.
    pub(crate) fn deliver(&self, receiver: &'static str, document: &Value) {
        self.state().record(receiver, document.clone(), true, false);
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        match request.path() {
            "/status" => self.room(),
            "/plugin" => self.take("plugin", request),
            "/webhook" => self.take("webhook", request),
            _ => self.projection(request),
        }
    }

    fn projection(&mut self, request: &Request) -> Reply {
        if !self.calm && self.dice.u8(..10) == 0 {
            return self.fault();
        }
        let name = request.target.strip_prefix("/projections/").unwrap_or_default();
        let Some(track) = self.values.get_mut(name) else { return Answer::empty(404).into() };
        track.polls += 1;
        if track.served.last() != Some(&track.current) {
            track.served.push(track.current.clone());
        }
        if track.current.is_null() {
            return Answer::json(404, &json!({"error": {"message": "Not found"}})).into();
        }
        let tag = format!("\"{}\"", track.current["n"]);
        if request.header("if-none-match") == Some(tag.as_str()) {
            return Answer::empty(304).header("etag", &tag).into();
        }
        Answer::json(200, &json!({"name": name, "value": track.current})).header("etag", &tag).into()
    }

    fn room(&mut self) -> Reply {
        let broken = !self.calm && self.dice.u8(..12) == 0;
        let slots = if self.calm { 9 } else { self.slots };
        let enough = !broken && slots >= MIN_AVAILABLE;
        self.answers.push(RoomAnswer { at: millis(), life: self.life, enough });
        if broken { self.fault() } else { Answer::json(200, &json!({"available": slots})).into() }
    }

    fn fault(&mut self) -> Reply {
        let right = Answer::json(200, &json!({"value": "wrong", "available": 9}));
        match self.dice.u8(..9) {
            0 => Answer::json(500, &json!({"value": "wrong", "available": 9})).into(),
            1 => Answer::html(502).into(),
            2 => Answer::html(200).into(),
            3 => Reply::Reset,
            4 => Reply::Hang,
            5 => Reply::Truncated(right),
            6 => Reply::Raw(b"{\"value\": \"wrong\"}".to_vec()),
            7 => Answer::json(429, &json!({"value": "wrong"})).header("retry-after", "0").into(),
            _ => Reply::Drip(right, Duration::from_millis(20)),
        }
    }

    /// A receiver gets a document.
    fn take(&mut self, receiver: &'static str, request: &Request) -> Reply {
        let taken = Answer::json(200, &json!({"ok": true}));
        let mut document = request.json();
        document.as_object_mut().expect("an object").remove("actor");
        let fault = if self.calm { 99 } else { self.dice.u8(..24) };
        // Who fails halfway may believe it all the same.
        let believes = self.dice.bool();
        let (reply, believes, refused) = match fault {
            0 => (Answer::html(500).into(), believes, false),
            1 => (Reply::Reset, believes, false),
            2 => (Reply::Hang, believes, false),
            3 => (Reply::Late(Duration::from_millis(700), Box::new(taken.into())), true, false),
            4 => (Reply::Truncated(taken), believes, false),
            5 => (Answer::empty(503).header("retry-after", "0").into(), false, true),
            6 => (Answer::empty(429).into(), false, true),
            7 => (Answer::json(400, &json!({"error": "no"})).into(), false, true),
            8 | 9 => (Reply::Late(Duration::from_millis(100), Box::new(taken.into())), true, false),
            _ => (taken.into(), true, false),
        };
        self.record(receiver, document, believes, refused);
        reply
    }

    fn record(&mut self, receiver: &'static str, document: Value, taken: bool, refused: bool) {
        self.last_delivery = Some(now());
        let delivery = Delivery { receiver, at: millis(), life: self.life, document, taken, refused };
        self.deliveries.push(delivery);
    }
}

#[expect(clippy::disallowed_methods, reason = "compared with the times in documents, which the daemon took from it")]
fn millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
    i64::try_from(since.as_millis()).expect("a date before the year 292 million")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
