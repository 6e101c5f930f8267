//! The audit trail as a file: every event as one line of JSON, appended as it happens.
//!
//! It has a thread of its own, so a slow disk holds nobody: then the oldest events are lost, and their ids show the gap.
//! A reload opens the file anew, which is what programs that rotate logs need.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use futures_util::StreamExt as _;
use ograph_dispatcher_actors::{
    Handle,
    events::{Event, EventRecord},
    model::time::Timestamp,
};

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A file that events are written to.
pub(crate) struct EventsFile {
    trouble: Trouble,
    done: mpsc::Receiver<()>,
}

/// Why events cannot be written, and since when.
pub(crate) type Trouble = Arc<Mutex<Option<(Timestamp, String)>>>;

impl EventsFile {
    /// Opens `path` and follows `handle` until the dispatcher ends.
    ///
    /// # Errors
    /// If the file cannot be opened now; later failures are only reported.
    pub(crate) fn start(path: PathBuf, handle: &Handle) -> io::Result<Self> {
        let mut lines = Lines { file: Some(open(&path)?), path, trouble: Trouble::default(), last_id: 0 };
        let trouble = Arc::clone(&lines.trouble);
        let events = handle.subscribe();
        let (tell, done) = mpsc::channel();
        thread::Builder::new().name("events-file".to_owned()).spawn(move || {
            // Dropped last: that is the word that everything is written.
            let _tell = tell;
            let Ok(runtime) = actix_rt::Runtime::new() else { return };
            runtime.block_on(async {
                let mut events = pin!(events);
                while let Some(record) = events.next().await {
                    lines.append(&record);
                }
            });
        })?;
        Ok(Self { trouble, done })
    }

    /// Why events cannot be written, if they cannot.
    pub(crate) fn trouble(&self) -> Trouble {
        Arc::clone(&self.trouble)
    }

    /// Waits until the last events are written. Call it when the dispatcher has ended.
    pub(crate) fn finish(self) {
        if self.done.recv_timeout(LAST_LINES) == Err(mpsc::RecvTimeoutError::Timeout) {
            log::warn!("the last events may be missing from the events file");
        }
    }
}

struct Lines {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<File>,
    trouble: Trouble,
    last_id: u64,
}

impl Lines {
    fn append(&mut self, record: &EventRecord) {
        let result = self.write(record);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if trouble.take().is_some() {
                    log::info!("events are written to {} again", self.path.display());
                }
            }
            Err(error) => {
                self.file = None;
                if trouble.is_none() {
                    log::warn!("events cannot be written to {}: {error}", self.path.display());
                    *trouble = Some((record.at, format!("{}: {error}", self.path.display())));
                }
            }
        }
    }

    fn write(&mut self, record: &EventRecord) -> io::Result<()> {
        let missed = record.id.saturating_sub(self.last_id + 1);
        if missed > 0 && self.last_id > 0 {
            log::warn!("{missed} events are missing from {}: the disk is too slow", self.path.display());
        }
        self.last_id = record.id;
        if matches!(record.event, Event::Reloaded | Event::ReloadRefused { .. }) {
            self.file = None;
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        file.write_all(&line)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
