//! A user at a terminal, and a daemon that answers from a script.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Reply, Request, TestServer};

/// A user with a home folder of their own and nothing in the environment.
pub(crate) struct User {
    home: TempDir,
    pub(crate) env: Vec<(String, String)>,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The lines it printed, each without the blanks between its columns.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

impl User {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder"), env: Vec::new() }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.to_owned(), value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where a daemon of this user keeps its state, unless it is told otherwise.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state/ograph-dispatcher")
    }

    /// Writes a file for this user alone.
    pub(crate) fn write(&self, path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
    }

    /// Writes the configuration to its usual place.
    pub(crate) fn configure(&self, config: &Value) {
        self.write(&self.path("config/ograph/dispatcher.json"), &config.to_string());
    }

    /// The program, about to be started.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ograph-dispatcher"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("PATH", self.path("bin"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, line: &str) -> Run {
        let output = self.command(line).output().expect("the program");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A stand-in for the daemon's control server.
pub(crate) struct StandIn {
    pub(crate) server: TestServer,
    next: Arc<Mutex<Reply>>,
}

impl StandIn {
    /// The token that it accepts.
    pub(crate) const TOKEN: &str = "control-test-token";

    /// One that answers everything with `{}`.
    pub(crate) fn start() -> Self {
        let next = Arc::new(Mutex::new(Answer::json(200, &json!({})).into()));
        let server = TestServer::start({
            let next: Arc<Mutex<Reply>> = Arc::clone(&next);
            move |request| {
                if request.bears(Self::TOKEN) {
                    next.lock().expect("no panic").clone()
                } else {
                    problem(401, "send `Authorization: Bearer <token>`").into()
                }
            }
        });
        Self { server, next }
    }

    /// One whose address and token are in the user's state folder.
    pub(crate) fn of(user: &User) -> Self {
        let daemon = Self::start();
        daemon.announce(&user.state_dir(), std::process::id(), Self::TOKEN);
        daemon
    }

    /// Writes `control.json`.
    pub(crate) fn announce(&self, state_dir: &Path, pid: u32, token: &str) {
        let contact = json!({"pid": pid, "url": self.server.url(), "token": token});
        fs::create_dir_all(state_dir).expect("a folder");
        let file = state_dir.join("control.json");
        fs::write(&file, contact.to_string()).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
        fs::set_permissions(state_dir, fs::Permissions::from_mode(0o700)).expect("permissions");
    }

    /// Answers everything like this from now on.
    pub(crate) fn answer(&self, reply: impl Into<Reply>) {
        *self.next.lock().expect("no panic") = reply.into();
    }

    pub(crate) fn answer_json(&self, value: &Value) {
        self.answer(Answer::json(200, value));
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Request {
        self.server.requests().pop().expect("a request")
    }
}

/// A refusal as RFC 9457 puts it.
pub(crate) fn problem(status: u16, detail: &str) -> Answer {
    let body = json!({"type": "about:blank", "title": "Refused", "status": status, "detail": detail});
    Answer::text(status, "application/problem+json", body.to_string())
}

/// A time this many seconds ago; negative for the future.
pub(crate) fn ago(seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the program under test reads the real clock")]
    let now = jiff::Timestamp::now();
    // A little more, so that neither a slow start nor the other process's clock takes the last second away.
    let more = jiff::SignedDuration::from_millis(300 * seconds.signum());
    let time = now - jiff::SignedDuration::from_secs(seconds) - more;
    format!("{time:.3}")
}
