//! A whole job: OGraph, OpenClaw and a daemon between them, with intervals that fit a test.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{Daemon, OGraph, OpenClaw, Request, Setup, wait_until};

/// How long anything may take on a busy machine. Only tests that fail wait so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The servers, and what the daemon is started with. Its only receiver is the `oc-plugin` of [`OpenClaw`].
pub(crate) struct Job {
    pub(crate) ograph: OGraph,
    pub(crate) openclaw: OpenClaw,
    pub(crate) setup: Setup,
    projections: Vec<String>,
}

impl Job {
    /// A projection that no test uses but to show that nothing else was to be delivered: see
    /// [`assert_nothing_is_pending`](Self::assert_nothing_is_pending).
    pub(crate) const MARKER: &str = "marker";

    /// A job that watches these projections, with their first values, and [`MARKER`](Self::MARKER).
    pub(crate) fn new<Name: Into<String>>(projections: impl IntoIterator<Item = (Name, Value)>) -> Self {
        let (ograph, openclaw) = (OGraph::start(), OpenClaw::start());
        let mut names = vec![Self::MARKER.to_owned()];
        ograph.set(Self::MARKER, &json!(0));
        for (name, value) in projections {
            let name = name.into();
            ograph.set(&name, &value);
            names.push(name);
        }
        let setup = Setup::new(json!({
            "ograph": {"endpoint": ograph.url(), "token": OGraph::TOKEN, "projections": names, "timeout": 2000},
            "oc": {
                "statusEndpoint": openclaw.status_endpoint(),
                "statusToken": OpenClaw::TOKEN,
                "minAvailable": 2,
                "timeout": 500,
            },
            "intervals": {
                "watcherIdle": 100,
                "watcherActive": 50,
                "schedulerIdle": 100,
                "schedulerActive": 50,
                "cooldownAfterPush": 200,
            },
            "push": {"dispatchFile": null, "openclaw": {"enabled": false}},
            "agents": [openclaw.plugin_receiver()],
            "control": {"listen": null},
        }));
        Self { ograph, openclaw, setup, projections: names }
    }

    /// Starts the daemon and waits until it knows every projection as it is now.
    ///
    /// A third poll shows that the answer to the second was processed, and the first is durable before the second.
    #[track_caller]
    pub(crate) fn start(&self) -> Daemon {
        let daemon = self.setup.start();
        self.wait_for_polls(3);
        daemon
    }

    /// Waits until every projection was asked for `times` more often than now.
    #[track_caller]
    pub(crate) fn wait_for_polls(&self, times: usize) {
        let names: Vec<_> = self.projections.iter().map(String::as_str).collect();
        self.ograph.wait_for_polls(&names, times, DEADLINE);
    }

    /// Sets a value and waits until the daemon has seen it.
    #[track_caller]
    pub(crate) fn change(&self, projection: &str, value: &Value) {
        self.ograph.set(projection, value);
        self.ograph.wait_for_polls(&[projection], 2, DEADLINE);
    }

    /// Waits until this many documents were posted to the plugin route, and returns all of them.
    #[track_caller]
    pub(crate) fn wait_for_documents(&self, count: usize) -> Vec<Value> {
        wait_until(DEADLINE, &format!("{count} documents are delivered"), || self.attempts().len() >= count);
        self.documents()
    }

    /// Every document that was posted to the plugin route, whatever the answer was.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.attempts().iter().map(Request::json).collect()
    }

    /// Every request with a document.
    pub(crate) fn attempts(&self) -> Vec<Request> {
        self.openclaw.plugin_deliveries()
    }

    /// Asserts that nothing was delivered so far, and that nothing is about to be.
    #[track_caller]
    pub(crate) fn assert_nothing_to_tell(&self) {
        let documents = self.documents();
        assert!(documents.is_empty(), "nothing has changed, but this was delivered: {documents:#?}");
        self.assert_nothing_is_pending();
        assert_eq!(self.attempts().len(), 1, "only the marker is delivered");
    }

    /// Changes the marker and asserts that it alone is in the next document: all that happened before it was either
    /// delivered or no change. (OpenClaw must have room.)
    #[track_caller]
    pub(crate) fn assert_nothing_is_pending(&self) {
        let before = self.attempts().len();
        let next = json!({"after": before});
        self.ograph.set(Self::MARKER, &next);
        let documents = self.wait_for_documents(before + 1);
        let document = &documents[before];
        assert_eq!(keys(document), [Self::MARKER], "only the marker has changed: {document:#}");
        assert_eq!(document["changes"][0]["new"], next);
    }
}

/// The projections in a document, in its order.
pub(crate) fn keys(document: &Value) -> Vec<&str> {
    let changes = document["changes"].as_array().expect("a document has changes");
    changes.iter().map(|change| change["projection"].as_str().expect("a key")).collect()
}

/// The change of this projection in a document.
#[track_caller]
pub(crate) fn change_of<'a>(document: &'a Value, projection: &str) -> &'a Value {
    let changes = document["changes"].as_array().expect("a document has changes");
    let mut found = changes.iter().filter(|change| change["projection"] == projection);
    let change = found.next().unwrap_or_else(|| panic!("no change of {projection} in {document:#}"));
    assert!(found.next().is_none(), "{projection} is in the document twice: {document:#}");
    change
}

/// The documents that were appended to a file, one after the other; one that is not complete yet is left out.
pub(crate) fn documents_in(file: &Path) -> Vec<Value> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::Deserializer::from_slice(&text).into_iter().map_while(Result::ok).collect()
}
