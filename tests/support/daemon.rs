//! The daemon as a process: its folder and configuration, its log, signals and end.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::wait_for;

/// How many of the last lines are shown when a test fails.
const TAIL: usize = 60;

/// What a daemon is started with. It can be started again and again: folder and state stay.
pub(crate) struct Setup {
    folder: TempDir,
    /// Written to the configuration file at each start.
    pub(crate) config: Value,
    /// Besides the few variables that every daemon gets.
    pub(crate) env: Vec<(String, String)>,
    /// The command line.
    pub(crate) args: Vec<String>,
    /// The program itself.
    pub(crate) program: PathBuf,
    /// The user to run it as, if it is not ours.
    user: Option<u32>,
}

impl Setup {
    /// A setup with a folder of its own and this configuration; `state.dir` is in that folder unless it is given.
    pub(crate) fn new(mut config: Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if config["state"]["dir"].is_null() {
            config["state"] = json!({"dir": folder.path().join("state")});
        }
        Self {
            folder,
            config,
            env: Vec::new(),
            args: Vec::new(),
            program: env!("CARGO_BIN_EXE_ograph-dispatcher").into(),
            user: None,
        }
    }

    /// From now on the daemon is subject to permissions: where the tests run as root, it runs as somebody else, who
    /// owns the setup's folder as it is now and a copy of the program.
    pub(crate) fn be_nobody(&mut self) {
        const NOBODY: u32 = 65_534;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let program = self.path("ograph-dispatcher");
        fs::copy(&self.program, &program).expect("a copy of the program");
        self.program = program;
        self.user = Some(NOBODY);
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            chown(&folder, Some(NOBODY), None).expect("an owner");
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    chown(entry, Some(NOBODY), None).expect("an owner");
                }
            }
        }
    }

    /// A path inside the setup's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the daemon keeps its state.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.config["state"]["dir"].as_str().expect("state.dir is a path").into()
    }

    /// Writes the configuration and starts the daemon. Nothing of the caller's environment reaches it.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// The same with more variables, for this start alone.
    pub(crate) fn start_with(&self, more: &[(&str, String)]) -> Daemon {
        let config = self.path("dispatcher.json");
        fs::write(&config, serde_json::to_vec_pretty(&self.config).expect("JSON")).expect("a configuration file");
        restrict(&config);
        let folder = self.folder.path();
        let mut command = Command::new(&self.program);
        if let Some(user) = self.user {
            chown(&config, Some(user), None).expect("an owner");
            command.uid(user);
        }
        let child = command
            .args(&self.args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .env("RUST_LOG", "info,ograph_dispatcher=debug,ograph_dispatcher_actors=debug")
            .env("OGRAPH_CONFIG_FILE", &config)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        Daemon::watch(child)
    }
}

/// A file that holds tokens is for its owner alone.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// A running (or ended) daemon. Dropping it kills it, and shows the end of its log if the test is failing.
pub(crate) struct Daemon {
    child: Child,
    log: Lines,
    stdout: Lines,
}

/// Lines that a thread collects until the stream ends.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let ours = lines.clone();
        // Ends with the stream, which ends with the last process that holds it.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                ours.lock().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Daemon {
    fn watch(mut child: Child) -> Self {
        let stdout = Lines::collect(child.stdout.take().expect("piped"));
        let log = Lines::collect(child.stderr.take().expect("piped"));
        Self { child, log, stdout }
    }

    /// All lines of its log (standard error) so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// All lines of its standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().clone()
    }

    /// How many lines of the log contain `pattern`.
    pub(crate) fn count_log(&self, pattern: &str) -> usize {
        self.log.lock().iter().filter(|line| line.contains(pattern)).count()
    }

    /// Waits for a line of the log that contains `pattern`, and returns the first.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, pattern: &str, deadline: Duration) -> String {
        wait_for(deadline, &format!("a line with {pattern:?} in the daemon's log"), || {
            self.log.lock().iter().find(|line| line.contains(pattern)).cloned()
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("a child that nobody has waited for can be signalled");
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        wait_for(deadline, "the daemon ends", || self.child.try_wait().expect("our own child"))
    }

    /// Kills it as a power failure would: no handler runs. Returns when the process is gone.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    /// Ends it in good order, within 10 s.
    #[track_caller]
    pub(crate) fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_exit(Duration::from_secs(10));
        assert!(status.success(), "terminated, the daemon ended with {status}");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn kill_now(&mut self) {
        // The only error is that it has ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "the test harness shows it for tests that failed")]
    fn drop(&mut self) {
        self.kill_now();
        if std::thread::panicking() {
            let log = self.log.lock();
            let tail = &log[log.len().saturating_sub(TAIL)..];
            eprintln!("--- the last {} lines of the daemon's log ---\n{}\n---", tail.len(), tail.join("\n"));
        }
    }
}
