//! Events as they happen, for any number of listeners: server-sent events from a bounded history.
//!
//! Every listener reads the history at its own pace and is told when there is more. One that lags so far behind that the
//! history has moved on is dropped; it may come back with the id of the last event it has seen.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use ograph_dispatcher_actors::events::EventRecord;
use tokio::sync::watch;

/// How many events are kept for those who come back.
const KEPT: usize = 1_024;
/// How many are written at a time.
const CHUNK: usize = 64;
/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many may listen at the same time.
const MAX_LISTENERS: usize = 64;

/// The last events.
pub(super) struct History {
    /// Tells this process from others: its event ids begin anew.
    instance: String,
    kept: Mutex<VecDeque<Arc<EventRecord>>>,
    /// The id of the newest event; `None` when there will be no more.
    newest: watch::Sender<Option<u64>>,
    listeners: AtomicUsize,
}

/// What a listener has missed.
#[derive(Debug, PartialEq)]
enum Next {
    Events(Vec<Arc<EventRecord>>),
    /// Some of it is no longer known.
    Lost,
}

impl History {
    pub(super) fn new(instance: String) -> Arc<Self> {
        Arc::new(Self {
            instance,
            kept: Mutex::default(),
            newest: watch::Sender::new(Some(0)),
            listeners: AtomicUsize::new(0),
        })
    }

    /// Keeps what comes until there is no more.
    pub(super) async fn follow(self: Arc<Self>, mut events: impl Stream<Item = Arc<EventRecord>> + Unpin) {
        while let Some(record) = events.next().await {
            self.keep(record);
        }
        self.end();
    }

    /// Ends every stream.
    pub(super) fn end(&self) {
        self.newest.send_replace(None);
    }

    /// How many listen now.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    fn keep(&self, record: Arc<EventRecord>) {
        let id = record.id;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(record);
        self.newest.send_if_modified(|newest| {
            newest.as_mut().is_some_and(|newest| {
                *newest = id;
                true
            })
        });
    }

    fn after(&self, seen: u64) -> Next {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.partition_point(|record| record.id <= seen);
        match kept.get(first) {
            // Ids have no gaps but for what was lost.
            Some(record) if record.id > seen + 1 => Next::Lost,
            _ => Next::Events(kept.iter().skip(first).take(CHUNK).cloned().collect()),
        }
    }

    /// The id that a listener names, if it is of this process.
    fn parse(&self, id: &str) -> Option<u64> {
        let (instance, number) = id.rsplit_once('-')?;
        (instance == self.instance).then(|| number.parse().ok()).flatten()
    }

    /// A stream for a listener that has seen `last_event_id`; `None` if too many listen already.
    ///
    /// It begins with the event `hello`, whose data says whether everything since that id follows (`"resumed": true`),
    /// or the listener should look at the state anew.
    pub(super) fn listen(
        self: &Arc<Self>,
        last_event_id: Option<&str>,
    ) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
        let listener = Listener::enter(self)?;
        let newest = self.newest.subscribe();
        let now = newest.borrow().unwrap_or(0);
        let asked = last_event_id.and_then(|id| self.parse(id)).filter(|seen| *seen <= now);
        let resumed = asked.filter(|seen| matches!(self.after(*seen), Next::Events(_)));
        let seen = resumed.unwrap_or(now);
        let hello = format!(
            "retry: 2000\nid: {}-{seen}\nevent: hello\ndata: {{\"resumed\":{}}}\n\n",
            self.instance,
            resumed.is_some()
        );
        let first = stream::once(std::future::ready(Ok(Bytes::from(hello))));
        let rest = stream::unfold(Reading { listener, newest, seen }, Reading::next);
        Some(first.chain(rest.fuse()))
    }
}

/// A place among the listeners.
struct Listener(Arc<History>);

impl Listener {
    fn enter(history: &Arc<History>) -> Option<Self> {
        let enter = |listeners| (listeners < MAX_LISTENERS).then_some(listeners + 1);
        history.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
        Some(Self(Arc::clone(history)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Reading {
    listener: Listener,
    newest: watch::Receiver<Option<u64>>,
    seen: u64,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            match self.listener.0.after(self.seen) {
                Next::Lost => return None,
                Next::Events(events) => {
                    if let Some(last) = events.last() {
                        self.seen = last.id;
                        let text = written(&self.listener.0.instance, &events);
                        return Some((Ok(text), self));
                    }
                }
            }
            let more = self.newest.wait_for(|newest| newest.is_none_or(|newest| newest > self.seen));
            let more = actix_rt::time::timeout(HEARTBEAT, more).await.map(|newest| newest.is_ok_and(|id| id.is_some()));
            match more {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some((Ok(Bytes::from_static(b": alive\n\n")), self)),
            }
        }
    }
}

/// Events as text. JSON has no line breaks, so nothing in an event can end it.
fn written(instance: &str, events: &[Arc<EventRecord>]) -> Bytes {
    let mut text = String::new();
    for record in events {
        let data = serde_json::to_value(record.as_ref()).unwrap_or_default();
        let name = data["type"].as_str().unwrap_or("event");
        // Writing to a String cannot fail.
        let _ = write!(text, "id: {instance}-{}\nevent: {name}\ndata: {data}\n\n", record.id);
    }
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use ograph_dispatcher_actors::{events::Event, model::time::Timestamp};
    use serde_json::json;

    use super::*;

    fn record(id: u64, event: Event) -> Arc<EventRecord> {
        Arc::new(EventRecord { id, at: Timestamp::EPOCH, event })
    }

    fn history(events: u64) -> Arc<History> {
        let history = History::new("run".to_owned());
        for id in 1..=events {
            history.keep(record(id, Event::Reloaded));
        }
        history
    }

    /// Everything that is to be had at once.
    fn read(stream: &mut (impl Stream<Item = Result<Bytes, Infallible>> + Unpin)) -> String {
        let mut text = String::new();
        while let Some(Some(Ok(bytes))) = stream.next().now_or_never() {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text
    }

    #[actix_rt::test]
    async fn a_listener_gets_what_happens_from_now_on() {
        let history = history(3);
        let mut stream = Box::pin(history.listen(None).unwrap());
        assert_eq!(read(&mut stream), "retry: 2000\nid: run-3\nevent: hello\ndata: {\"resumed\":false}\n\n");
        history.keep(record(4, Event::Paused { paused: true }));
        let text = read(&mut stream);
        let data = text.strip_prefix("id: run-4\nevent: paused\ndata: ").expect("one event");
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let expected = json!({"at": "1970-01-01T00:00:00.000Z", "id": 4, "paused": true, "type": "paused"});
        assert_eq!(data, expected);
    }

    #[actix_rt::test]
    async fn a_listener_that_comes_back_gets_what_it_missed() {
        let history = history(5);
        let mut stream = Box::pin(history.listen(Some("run-3")).unwrap());
        let text = read(&mut stream);
        assert!(text.contains("\"resumed\":true"), "{text}");
        assert!(!text.contains("id: run-3\nevent: reloaded"));
        assert!(text.contains("id: run-4\nevent: reloaded") && text.contains("id: run-5\nevent: reloaded"));
    }

    #[actix_rt::test]
    async fn ids_of_another_process_of_the_future_or_out_of_the_history_begin_anew() {
        let history = history(KEPT as u64 + 10);
        for id in ["other-3", "run-999999999", "run-2", "", "-", "run-x", "3"] {
            let mut stream = Box::pin(history.listen(Some(id)).unwrap());
            let text = read(&mut stream);
            assert!(text.contains("\"resumed\":false") && text.matches("event:").count() == 1, "{id}: {text}");
        }
    }

    #[actix_rt::test]
    async fn a_listener_that_lags_too_far_behind_is_dropped() {
        let history = history(1);
        let mut stream = Box::pin(history.listen(None).unwrap());
        read(&mut stream);
        for id in 2..KEPT as u64 + 10 {
            history.keep(record(id, Event::Reloaded));
        }
        assert_eq!(stream.next().now_or_never(), Some(None));
        drop(stream);
        assert_eq!(history.listeners(), 0);
    }

    #[actix_rt::test]
    async fn nothing_in_an_event_can_end_it() {
        let history = history(0);
        let mut stream = Box::pin(history.listen(None).unwrap());
        read(&mut stream);
        let message = "a\n\nevent: forged\rdata: 1\r\n".to_owned();
        history.keep(record(1, Event::StoreFailing { message }));
        let text = read(&mut stream);
        assert_eq!(text.trim_end().lines().count(), 3, "{text}");
        assert!(!text.contains('\r'));
    }

    #[actix_rt::test]
    async fn the_end_ends_every_stream_and_listeners_are_limited() {
        let history = history(0);
        let streams: Vec<_> = std::iter::from_fn(|| history.listen(None).map(Box::pin)).collect();
        assert_eq!(streams.len(), MAX_LISTENERS);
        history.end();
        for mut stream in streams {
            read(&mut stream);
            assert_eq!(stream.next().now_or_never(), Some(None));
        }
    }

    #[actix_rt::test]
    async fn a_silent_stream_shows_that_it_lives() {
        tokio::time::pause();
        let mut stream = Box::pin(history(0).listen(None).unwrap());
        read(&mut stream);
        assert_eq!(stream.next().await.unwrap().unwrap(), ": alive\n\n");
    }
}
