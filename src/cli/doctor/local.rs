//! What is checked on this machine alone: folders, files and programs.

use std::{
    ffi::OsStr,
    fs::{self, TryLockError},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{Check, Finding, check};
use crate::config::{Agent, AgentKind, Config, Environment, Loader, OpenClaw};

/// `openclaw` takes seconds to start, more on a busy machine.
const VERSION: Duration = Duration::from_secs(30);

/// The checks that a valid configuration allows.
pub(super) fn checks<'c>(config: &'c Config, environment: &'c Environment) -> Vec<Check<'c>> {
    let mut checks = Vec::new();
    if let Some(file) = &config.push.dispatch_file {
        checks.push(check(async move { vec![dispatch_file(file)] }));
    }
    if config.push.openclaw.enabled {
        checks.push(check(async move { vec![openclaw(&config.push.openclaw, environment).await] }));
    }
    for Agent { id, kind, .. } in &config.agents {
        if let AgentKind::Command { program, .. } = kind {
            checks.push(check(async move { vec![command(&format!("receiver {id}"), program, environment)] }));
        }
    }
    checks
}

/// The state folder: it may be missing, since the daemon makes it.
pub(super) fn state(loader: &Loader) -> Finding {
    const NAME: &str = "state";
    let folder = match loader.state_dir() {
        Ok(found) => found.path,
        Err(error) => {
            return Finding::fail(NAME, error.to_string()).remedy("set state.dir, OGRAPH_STATE_DIR or --state-dir");
        }
    };
    let shown = folder.display();
    if !folder.exists() {
        return match folder.ancestors().find(|ancestor| ancestor.exists()).map(write_into) {
            Some(Ok(())) => Finding::ok(NAME, format!("{shown} does not exist yet; the daemon makes it")),
            _ => Finding::fail(NAME, format!("{shown} does not exist and cannot be made"))
                .remedy("make it, or name another with state.dir"),
        };
    }
    if let Err(error) = write_into(&folder) {
        return Finding::fail(NAME, format!("{shown} is not writable: {error}"))
            .remedy("give it to the user who runs the daemon, or name another with state.dir");
    }
    let is_locked = fs::File::open(folder.join("state.lock")).is_ok_and(|file| {
        // Released at once, when the file is closed.
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    });
    let used = if is_locked { ", in use by the running daemon" } else { "" };
    if let Some(mode) = others_may(&folder) {
        return Finding::warn(NAME, format!("{shown} is open to other users (mode {mode:o}){used}"))
            .remedy(format!("chmod 700 {shown}"));
    }
    Finding::ok(NAME, format!("{shown} is writable{used}"))
}

/// The mode of a folder that other users may look into or write to.
#[cfg(unix)]
fn others_may(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = folder.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn others_may(_: &Path) -> Option<u32> {
    None
}

/// Whether a file can be made there; nothing of it stays.
fn write_into(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

fn dispatch_file(file: &Path) -> Finding {
    const NAME: &str = "dispatch file";
    let shown = file.display();
    let remedy = "name another with push.dispatchFile, or null to do without";
    if fs::symlink_metadata(file).is_ok_and(|there| there.is_dir()) {
        return Finding::fail(NAME, format!("{shown} is a folder")).remedy(remedy);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match write_into(folder) {
        Ok(()) => Finding::ok(NAME, format!("{shown} can be written")),
        Err(error) => Finding::fail(NAME, format!("{} is not writable: {error}", folder.display())).remedy(remedy),
    }
}

async fn openclaw(openclaw: &OpenClaw, environment: &Environment) -> Finding {
    const NAME: &str = "openclaw command";
    let shown = openclaw.bin.display();
    let has_target = openclaw.target.is_some();
    let Some(program) = find(&openclaw.bin, environment) else {
        let message = format!("{shown} is not in PATH, or cannot be executed");
        return if has_target {
            Finding::fail(NAME, message).remedy("install OpenClaw, or name its program with push.openclaw.bin")
        } else {
            Finding::warn(NAME, message)
                .remedy("needed only to send messages; push.openclaw.enabled = false does without")
        };
    };
    let version = match version(&program).await {
        Ok(version) => version,
        Err(error) => {
            return Finding::fail(NAME, format!("`{} --version` {error}", program.display()))
                .remedy("run it by hand; OpenClaw needs Node");
        }
    };
    let message = format!("{}: {version}", program.display());
    if has_target {
        Finding::ok(NAME, message)
    } else {
        Finding::warn(NAME, format!("{message}; nobody is messaged without a target"))
            .remedy("set push.openclaw.target, or push.openclaw.enabled = false to do without")
    }
}

/// The first line of what the program says about itself.
async fn version(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = timeout(VERSION, command.output())
        .await
        .map_err(|_| format!("did not end within {} s", VERSION.as_secs()))?
        .map_err(|error| format!("cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed ({})", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().find(|line| !line.trim().is_empty()).ok_or("said nothing")?;
    Ok(first.trim().chars().take(100).collect())
}

fn command(name: &str, program: &Path, environment: &Environment) -> Finding {
    match find(program, environment) {
        Some(found) => Finding::ok(name, format!("{} can be executed", found.display())),
        None => Finding::fail(name, format!("{} is not in PATH, or cannot be executed", program.display()))
            .remedy("correct the first element of its argv"),
    }
}

/// The file that starting `program` would execute.
fn find(program: &Path, environment: &Environment) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_executable(program).then(|| program.to_owned());
    }
    let path = environment.variables.get(OsStr::new("PATH"))?;
    let extensions: &[&str] = if cfg!(windows) { &["exe", "cmd", "bat"] } else { &[] };
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .flat_map(|file| std::iter::once(file.clone()).chain(extensions.iter().map(move |e| file.with_extension(e))))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}
