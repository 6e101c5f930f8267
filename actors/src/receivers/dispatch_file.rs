//! The `dispatch-file` receiver: the latest document as a file, replaced atomically.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_rt::task::spawn_blocking;
use futures_util::future::{FutureExt, LocalBoxFuture};
use tokio::{sync::Mutex, time::timeout};

use super::{DeliveryError, Reached, Receipt, Receiver, ReceiverId};
use crate::{failpoint::failpoint, model::document::Document};

/// How long a write may take: a network file system that hangs must not hang the receiver.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Temporary files this much older than ours were left behind by a crash.
const STALE: Duration = Duration::from_secs(600);

/// The remedy that always works.
const ELSEWHERE: &str = "set push.dispatchFile to another path";

const TEMP_PREFIX: &str = ".ograph-dispatch-";
const TEMP_SUFFIX: &str = ".tmp";

/// Replaces a file with the document, as indented JSON.
///
/// # Guarantees
/// - A reader sees the old document or the new one, never part of one: it is written to a temporary file in the same
///   folder, flushed to the disk, and renamed.
/// - The path's folder may be writable by others, such as `/tmp`. No symbolic link is ever followed: one that stands at
///   the path itself is replaced, and the temporary file has an unpredictable name and must not exist before.
/// - Nobody gets more access than the mode grants, at no moment.
/// - Files that a crash left behind are removed by a later write, if they are ours.
#[derive(Clone, Debug)]
pub struct DispatchFile {
    id: ReceiverId,
    path: PathBuf,
    mode: u32,
    /// Held by the thread that writes, also after its delivery was given up: two writes never overtake each other.
    turn: Arc<Mutex<()>>,
}

impl DispatchFile {
    /// The id of this receiver.
    pub const ID: &'static str = "dispatch-file";

    /// A receiver that writes `path` with these permission bits (`0o600`); they have no meaning outside Unix.
    pub fn new(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self { id: ReceiverId::new(Self::ID), path: path.into(), mode: mode & 0o777, turn: Arc::default() }
    }

    /// Where the document is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn write(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let mut text = serde_json::to_vec_pretty(document)
            .map_err(|error| DeliveryError::permanent(format!("the document cannot be written: {error}")))?;
        text.push(b'\n');
        let attempt = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let given_up = GivenUp::default();
            let replacement =
                Replacement { path: self.path.clone(), mode: self.mode, text, given_up: Arc::clone(&given_up.0) };
            let written = spawn_blocking(move || {
                let _turn = turn;
                replacement.make()
            });
            written.await.unwrap_or_else(|_| {
                Err(self.failed(
                    Reached::Maybe,
                    "the write was cut short",
                    "the program ends, or has a bug: see its log",
                ))
            })
        };
        timeout(TIMEOUT, attempt).await.unwrap_or_else(|_| {
            Err(self.failed(Reached::Maybe, "the write hangs", format!("check the file system, or {ELSEWHERE}")))
        })
    }

    fn failed(&self, reached: Reached, what: &str, why: impl Display) -> DeliveryError {
        failed(&self.path, reached, what, why)
    }
}

impl Receiver for DispatchFile {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.write(document).boxed_local()
    }
}

fn failed(path: &Path, reached: Reached, what: &str, why: impl Display) -> DeliveryError {
    DeliveryError::retry(reached, format!("dispatch file {}: {what}: {why}", path.display()))
}

/// Tells the writing thread that its delivery was given up.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One write, on a thread that may block.
struct Replacement {
    path: PathBuf,
    mode: u32,
    text: Vec<u8>,
    given_up: Arc<AtomicBool>,
}

impl Replacement {
    fn make(self) -> Result<Receipt, DeliveryError> {
        let folder = match self.path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return Err(self.failed("is a folder", ELSEWHERE)),
        };
        self.check_what_is_there(folder)?;
        let mut temp = Temp::create(folder, self.mode)
            .map_err(|error| self.failed("its folder cannot be written to", format!("{error}; {ELSEWHERE}")))?;
        temp.remove_leftovers(folder);
        temp.write(&self.text, self.mode).map_err(|error| self.failed("cannot be written", error))?;
        if self.given_up.load(Ordering::Relaxed) {
            return Err(self.failed("not replaced", "the delivery was given up"));
        }
        failpoint!("file.rename");
        temp.rename(&self.path).map_err(|error| self.failed("cannot be replaced", format!("{error}; {ELSEWHERE}")))?;
        failpoint!("file.renamed");
        flush(folder)
            .map_err(|error| failed(&self.path, Reached::Maybe, "replaced, but may not survive a crash", error))?;
        Ok(Receipt { detail: format!("{} bytes to {}", self.text.len(), self.path.display()) })
    }

    /// Gives the errors that need an explanation, and protects what a rename would destroy, such as `/dev/null`.
    fn check_what_is_there(&self, folder: &Path) -> Result<(), DeliveryError> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) if there.is_dir() => Err(self.failed("is a folder", ELSEWHERE)),
            Ok(there) if !there.is_file() && !there.is_symlink() => {
                Err(self.failed("is not a regular file", ELSEWHERE))
            }
            Ok(_) => Ok(()),
            Err(_) if !folder.exists() => {
                Err(self.failed("its folder does not exist", format!("create it, or {ELSEWHERE}")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed("cannot be looked at", format!("{error}; {ELSEWHERE}"))),
        }
    }

    fn failed(&self, what: &str, why: impl Display) -> DeliveryError {
        failed(&self.path, Reached::No, what, why)
    }
}

/// A new file of ours, removed unless it was renamed.
struct Temp {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temp {
    fn create(folder: &Path, mode: u32) -> io::Result<Self> {
        let random: [u8; 16] = ring::rand::generate(&ring::rand::SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?
            .expose();
        let name = format!("{TEMP_PREFIX}{:032x}{TEMP_SUFFIX}", u128::from_be_bytes(random));
        Self::create_at(folder.join(name), mode)
    }

    fn create_at(path: PathBuf, mode: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // O_CREAT | O_EXCL: whatever stands there, a symbolic link included, is an error.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let file = options.open(&path)?;
        Ok(Self { path, file, renamed: false })
    }

    /// Writes it to the disk, with exactly this mode: the umask may have taken some of it.
    fn write(&mut self, text: &[u8], mode: u32) -> io::Result<()> {
        #[cfg(unix)]
        self.file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        #[cfg(not(unix))]
        let _ = mode;
        self.file.write_all(text)?;
        self.file.sync_all()
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.renamed = true;
        Ok(())
    }

    /// Removes what earlier crashes left: regular files of ours, named like this one, but [`STALE`]. Age is measured
    /// by the file system's own clock. Best effort: what cannot be removed now may be removed next time.
    fn remove_leftovers(&self, folder: &Path) {
        let Ok(now) = self.file.metadata().and_then(|ours| ours.modified()) else { return };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_temp = entry.file_name().to_str().is_some_and(is_temp_name);
            // Of a symbolic link this describes the link.
            if is_temp && entry.metadata().is_ok_and(|file| is_leftover(&file, now)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_temp_name(name: &str) -> bool {
    let random = name.strip_prefix(TEMP_PREFIX).and_then(|name| name.strip_suffix(TEMP_SUFFIX));
    random.is_some_and(|random| random.len() == 32 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_leftover(file: &fs::Metadata, now: SystemTime) -> bool {
    let stale = file.modified().is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STALE));
    #[cfg(unix)]
    let ours = std::os::unix::fs::MetadataExt::uid(file) == rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    let ours = true;
    file.is_file() && stale && ours
}

/// Makes the rename survive a power failure.
#[cfg(unix)]
fn flush(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // One that may be written to but not read cannot be flushed, and some file systems neither can nor need to.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        result => result,
    }
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn flush(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests;
