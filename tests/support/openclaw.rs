//! OpenClaw as a test server, and a stub of its command line program.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Answer, Reply, Request, TestServer, wait_until};

const STATUS: &str = "/plugins/session-status/status";
const PLUGIN: &str = "/plugins/ograph/dispatch";
const WEBHOOK: &str = "/webhook";

/// A running OpenClaw, with a webhook receiver beside it.
pub(crate) struct OpenClaw {
    server: TestServer,
    gateway: Arc<Mutex<Gateway>>,
}

struct Gateway {
    status: Reply,
    /// The next answers by path; after them 200.
    scripts: HashMap<String, VecDeque<Reply>>,
}

impl OpenClaw {
    /// The token of the status route.
    pub(crate) const TOKEN: &str = "openclaw-test-token";
    /// The secret of the plugin route.
    pub(crate) const SECRET: &str = "plugin-test-secret";
    /// The webhook's secret (the key is `webhook-test-secret`).
    pub(crate) const WEBHOOK_SECRET: &str = "whsec_d2ViaG9vay10ZXN0LXNlY3JldA==";

    /// Starts one with plenty of room.
    pub(crate) fn start() -> Self {
        let gateway = Arc::new(Mutex::new(Gateway { status: available(9), scripts: HashMap::new() }));
        let server = TestServer::start({
            let gateway = Arc::clone(&gateway);
            move |request| lock(&gateway).reply(request)
        });
        Self { server, gateway }
    }

    /// From now on so many slots are free.
    pub(crate) fn set_available(&self, slots: u64) {
        self.answer_status_with(available(slots));
    }

    /// From now on the status route answers like this, also without a token.
    pub(crate) fn answer_status_with(&self, reply: impl Into<Reply>) {
        lock(&self.gateway).status = reply.into();
    }

    /// The next deliveries to the plugin route end like this, one after the other; after them all is well.
    pub(crate) fn script_plugin(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script(PLUGIN, replies);
    }

    /// The next deliveries to the webhook end like this, one after the other; after them all is well.
    pub(crate) fn script_webhook(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script(WEBHOOK, replies);
    }

    fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.gateway).scripts.insert(path.to_owned(), replies.into_iter().collect());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What belongs into `oc.statusEndpoint`.
    pub(crate) fn status_endpoint(&self) -> String {
        self.server.url() + STATUS
    }

    /// An `oc-plugin` receiver that delivers here.
    pub(crate) fn plugin_receiver(&self) -> Value {
        json!({"type": "oc-plugin", "url": self.server.url() + PLUGIN, "secret": Self::SECRET, "actor": "dispatcher"})
    }

    /// A `webhook` receiver that delivers here.
    pub(crate) fn webhook_receiver(&self) -> Value {
        json!({"type": "webhook", "url": self.server.url() + WEBHOOK, "secret": Self::WEBHOOK_SECRET})
    }

    /// Every attempt to deliver to the plugin route, whatever the answer was.
    pub(crate) fn plugin_deliveries(&self) -> Vec<Request> {
        self.posts(PLUGIN)
    }

    /// Every attempt to deliver to the webhook, whatever the answer was.
    pub(crate) fn webhook_deliveries(&self) -> Vec<Request> {
        self.posts(WEBHOOK)
    }

    fn posts(&self, path: &str) -> Vec<Request> {
        let posted = |request: &Request| request.method == "POST" && request.path() == path;
        self.server.requests().into_iter().filter(posted).collect()
    }

    /// How often the status was asked for.
    pub(crate) fn status_polls(&self) -> usize {
        self.server.count(STATUS)
    }

    /// Waits until the status was asked for `times` more often than now.
    #[track_caller]
    pub(crate) fn wait_for_status_polls(&self, times: usize, deadline: Duration) {
        let wanted = self.status_polls() + times;
        wait_until(deadline, &format!("{times} more polls of OpenClaw's status"), || self.status_polls() >= wanted);
    }
}

impl Gateway {
    fn reply(&mut self, request: &Request) -> Reply {
        let secret = match (request.method.as_str(), request.path()) {
            ("GET", STATUS) => OpenClaw::TOKEN,
            ("POST" | "GET", PLUGIN) => OpenClaw::SECRET,
            ("POST", WEBHOOK) => return self.next(WEBHOOK),
            ("GET", path) if !path.starts_with("/plugins/") => return Answer::html(200).into(),
            _ => return Answer::text(404, "text/plain", "Not Found").into(),
        };
        if !request.bears(secret) {
            return Answer::json(401, &json!({"error": {"message": "Unauthorized", "type": "unauthorized"}})).into();
        }
        match request.path() {
            STATUS => self.status.clone(),
            _ if request.method == "GET" => Answer::text(405, "text/plain", "only POST is served here").into(),
            _ => self.next(PLUGIN),
        }
    }

    fn next(&mut self, path: &str) -> Reply {
        let scripted = self.scripts.get_mut(path).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| Answer::json(200, &json!({"ok": true, "runId": "run"})).into())
    }
}

fn available(slots: u64) -> Reply {
    Answer::json(200, &json!({"available": slots})).into()
}

fn lock(gateway: &Mutex<Gateway>) -> MutexGuard<'_, Gateway> {
    gateway.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that can be configured as `push.openclaw.bin`, and keeps the arguments of its calls.
pub(crate) struct StubCli {
    folder: PathBuf,
}

impl StubCli {
    /// Puts one into `folder`, which it needs for itself.
    ///
    /// The program is a link to one script: a script written here could still be open for writing in a process that
    /// another test is starting, and then it could not be run.
    pub(crate) fn new(folder: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/openclaw.sh");
        fs::create_dir_all(folder).expect("a folder for the stub");
        symlink(script, folder.join("openclaw")).expect("a link to the stub");
        Self { folder: folder.to_owned() }
    }

    /// The program.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("openclaw")
    }

    /// From now on each call ends with these shell commands, e.g. `exit 1` or `sleep 60`.
    pub(crate) fn behave(&self, commands: &str) {
        let part = self.folder.join("behaviour.part");
        fs::write(&part, commands).expect("a behaviour");
        fs::rename(part, self.folder.join("behaviour")).expect("a behaviour");
    }

    /// The arguments of every call so far.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        let recorded = fs::read(self.folder.join("calls")).unwrap_or_default();
        let recorded = String::from_utf8(recorded).expect("arguments in UTF-8");
        let (mut calls, mut call) = (Vec::new(), Vec::new());
        for argument in recorded.split_terminator('\0') {
            if argument == "\u{1e}" {
                calls.push(std::mem::take(&mut call));
            } else {
                call.push(argument.to_owned());
            }
        }
        calls
    }
}
