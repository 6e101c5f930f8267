//! Runs a program: without a shell, in a process group of its own, and never longer than allowed.
//!
//! # Guarantees
//! - The whole group is killed at the timeout and when the future is dropped; nothing is left as a zombie.
//! - Output is read while the program runs and only its end is kept, so that a flood neither blocks it nor grows us.
//! - A program that never reads its input, or ends without having read it, cannot hang us.
//! - A program that ends while others of its group still hold its pipes is waited for a second longer; then they are
//!   killed. What is meant to outlive the delivery lets go of stdout and stderr (`>/dev/null 2>&1`).
//!
//! The program inherits working directory and environment, and no file descriptor of ours but its three pipes. A
//! descendant that starts a session of its own (`setsid`) leaves the group: it is not killed, but not waited for either.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures_util::future::{FusedFuture, FutureExt, join3};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use super::text;

/// How long pipes may stay open once the program has ended, and how long a killed one may take to go.
const GRACE: Duration = Duration::from_secs(1);

/// How much of the end of each output is kept.
const KEPT: usize = 16 * 1024;

/// A program to run once.
pub(super) struct Program<'a> {
    /// The program, looked for in `PATH` unless it contains a slash, and its arguments.
    pub(super) argv: &'a [OsString],
    /// Variables added to the inherited environment.
    pub(super) env: &'a [(&'a str, String)],
    /// What it reads on stdin; nothing (`/dev/null`) if `None`.
    pub(super) stdin: Option<&'a [u8]>,
    /// How long it may take.
    pub(super) timeout: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    /// The end of what it wrote.
    pub(super) output: Output,
}

/// The end of a program's output.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why a program gave no exit status.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// An empty argument vector.
    #[error("no program is configured")]
    NoProgram,
    /// There is no such program.
    #[error("`{0}` was not found: install it, or configure its full path")]
    NotFound(String),
    /// There is a file, but the system cannot run it.
    #[error("`{program}` cannot be executed: {reason}")]
    NotExecutable {
        /// The program.
        program: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// It could not be started for another reason.
    #[error("`{program}` could not be started: {error}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// It was started, and the system lost sight of it.
    #[error("`{program}` was started, but could not be waited for: {error}")]
    Wait {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// It took too long and was killed with its children.
    #[error("`{program}` did not end within {} ms and was killed{}", after.as_millis(), output.quoted())]
    TimedOut {
        /// The program.
        program: String,
        /// How long it had.
        after: Duration,
        /// What it wrote.
        output: Output,
    },
}

impl RunError {
    /// Whether the program may have begun its work.
    pub(super) fn was_started(&self) -> bool {
        matches!(self, Self::Wait { .. } | Self::TimedOut { .. })
    }
}

/// Runs `program` to its end.
///
/// Cancel-safe: dropping the future kills the program and its children.
///
/// # Errors
/// If it could not be started, or did not end in time.
pub(super) async fn run(program: &Program<'_>) -> Result<Finished, RunError> {
    let (path, arguments) = program.argv.split_first().ok_or(RunError::NoProgram)?;
    let name = text::data(&path.to_string_lossy(), 200);
    let mut child = start(path, arguments, program).map_err(|error| explain(path, name.clone(), error))?;
    // Declared after the child, so that a dropped future kills the group before its leader is waited for.
    let mut group = Group::led_by(&child);

    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, let_go) = {
        let pipes = join3(feed(input, program.stdin), drain(out, &mut stdout), drain(err, &mut stderr));
        let mut pipes = pin!(pipes.fuse());
        let exit = async {
            tokio::select! {
                status = child.wait() => status,
                _ = &mut pipes => child.wait().await,
            }
        };
        let status = timeout(program.timeout, exit).await;
        if !matches!(status, Ok(Ok(_))) {
            group.kill();
            // For systems without groups.
            let _ = child.start_kill();
        }
        (status, pipes.is_terminated() || timeout(GRACE, pipes).await.is_ok())
    };

    let output = Output { stdout, stderr };
    match status {
        Ok(Ok(status)) => {
            // After a clean end the group's id may soon be somebody else's. It cannot be while a member lives, and
            // whoever still holds a pipe is one, or has left for a session of its own a moment ago.
            if let_go {
                group.forget();
            }
            Ok(Finished { status, output })
        }
        Ok(Err(error)) => Err(RunError::Wait { program: name, error }),
        Err(_) => {
            // Only to leave no zombie; should the kernel take longer, tokio goes on waiting for it.
            let _ = timeout(GRACE, child.wait()).await;
            Err(RunError::TimedOut { program: name, after: program.timeout, output })
        }
    }
}

fn start(path: &OsStr, arguments: &[OsString], program: &Program<'_>) -> io::Result<Child> {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Tells a missing program from one that cannot be run.
fn explain(path: &OsStr, program: String, error: io::Error) -> RunError {
    match error.kind() {
        io::ErrorKind::NotFound if exists(path) => {
            RunError::NotExecutable { program, reason: "the interpreter named in its first line does not exist" }
        }
        io::ErrorKind::NotFound => RunError::NotFound(program),
        io::ErrorKind::PermissionDenied => {
            RunError::NotExecutable { program, reason: "permission denied; is it a file with execute permission?" }
        }
        _ if is_wrong_format(&error) => {
            RunError::NotExecutable { program, reason: "it is neither a program for this system nor begins with `#!`" }
        }
        _ => RunError::Start { program, error },
    }
}

/// Whether the system would find a file, runnable or not, under this name.
fn exists(program: &OsStr) -> bool {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path.exists();
    }
    std::env::var_os("PATH").is_some_and(|dirs| std::env::split_paths(&dirs).any(|dir| dir.join(path).exists()))
}

#[cfg(unix)]
fn is_wrong_format(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

#[cfg(not(unix))]
fn is_wrong_format(_: &io::Error) -> bool {
    false
}

/// Writes all input, then closes the pipe. A program is free not to read it: its exit status is what counts.
async fn feed(pipe: Option<impl AsyncWrite + Unpin>, input: Option<&[u8]>) {
    if let (Some(mut pipe), Some(input)) = (pipe, input) {
        let _ = pipe.write_all(input).await;
    }
}

/// Reads until the end and keeps the last [`KEPT`] bytes.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 8 * 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    kept.drain(..kept.len().saturating_sub(KEPT));
}

impl Output {
    /// The end of what was written, for the end of a message: `: …`, or nothing. Errors are preferred.
    pub(super) fn quoted(&self) -> String {
        let written = |bytes: &[u8]| {
            let line = text::last_words(bytes, 300);
            (!line.is_empty()).then(|| format!(": {line}"))
        };
        written(&self.stderr).or_else(|| written(&self.stdout)).unwrap_or_default()
    }
}

/// A process group, killed when this is dropped.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    fn led_by(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(rustix::process::Pid::from_raw) }
    }

    fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // The only possible failure is that nobody is left.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    fn forget(&mut self) {
        self.leader = None;
    }
}

/// Elsewhere only the program itself is killed.
#[cfg(not(unix))]
impl Group {
    fn led_by(_: &Child) -> Self {
        Self {}
    }

    fn kill(&mut self) {}

    fn forget(&mut self) {}
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(all(test, unix))]
mod tests;
