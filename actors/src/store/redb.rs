//! [`RedbStore`]: the durable store, one redb database in one file.
//!
//! # Guarantees beyond [`Store`]
//! - One process at a time: `state.lock` beside the file is held from [`open`](RedbStore::open) until the store is dropped.
//! - A file that cannot be believed is set aside by [`open`](RedbStore::open), never deleted and never opened again.
//! - A failure ends no more than the call it befalls: the database is closed and the next call opens it anew, so that a
//!   disk that was full for a while needs no restart.
//! - A commit whose last step failed may be in the file all the same: it is taken back when the database is opened anew.
//!   Only if the process dies before that may it stay, and then as a whole.
//!
//! # Memory
//! The database's cache is bounded to [`CACHE`] bytes; nothing else is held between calls.

mod failure;
mod file;
mod records;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use redb::Database;

use self::{
    failure::{Failure, caught},
    file::{Attach, DatabaseFile, close},
    records::Undo,
};
use super::{Delivery, Observed, Saved, Store, StoreError, Write};
use crate::model::key::ProjectionKey;

/// What the database may keep of its file in memory, in bytes.
const CACHE: usize = 2 << 20;

/// A durable store in `state.redb`.
pub struct RedbStore {
    file: DatabaseFile,
    /// One call at a time: a failing one may then close the database under nobody's feet.
    state: Mutex<State>,
    /// Its lock is the claim on the directory, also while the database is closed.
    _claim: File,
}

struct State {
    /// `None` after a failure, until the next call.
    db: Option<Database>,
    /// How to take back the commit that failed at its last step, so that nobody knows whether the file has it.
    doubt: Option<Undo>,
}

/// A store, and whether it had to begin anew.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: RedbStore,
    /// The damaged file that stood in its place. All state in it is lost to this program, so say it loudly.
    pub set_aside: Option<SetAside>,
}

/// A damaged file that was moved out of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it, in words.
    pub reason: String,
}

impl RedbStore {
    /// Opens the store in `dir`, and makes both if they are missing (`dir` for its owner alone).
    ///
    /// The whole file is read and checked. A damaged one is renamed to `state.redb.damaged-N` and a fresh one begun.
    ///
    /// # Errors
    /// If another process has the store, a newer program wrote it, or the system refuses something. Then the file is
    /// left where it is.
    pub fn open(dir: &Path) -> Result<Opened, StoreError> {
        Self::open_through(dir, file::attach())
    }

    fn open_through(dir: &Path, attach: Attach) -> Result<Opened, StoreError> {
        let file = DatabaseFile::new(dir, attach);
        let claim = file.claim()?;
        let (db, set_aside) = file.open_or_begin()?;
        let state = Mutex::new(State { db: Some(db), doubt: None });
        Ok(Opened { store: Self { file, state, _claim: claim }, set_aside })
    }

    /// Calls `act` with the database, which is opened if the last call failed, and closed if this one does.
    fn with<T>(
        &self,
        doing: &str,
        act: impl FnOnce(&Database, &mut Option<Undo>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { db, doubt } = &mut *state;
        let open = match db.take() {
            Some(open) => open,
            None => self.reopen(doubt).map_err(|failure| self.file.error("opening", failure))?,
        };
        match caught(|| act(&open, doubt)) {
            Ok(value) => {
                *db = Some(open);
                Ok(value)
            }
            Err(failure) => {
                close(open);
                Err(self.file.error(doing, failure))
            }
        }
    }

    /// Opens the database again and takes back what failed to be committed.
    fn reopen(&self, doubt: &mut Option<Undo>) -> Result<Database, Failure> {
        let db = self.file.open()?;
        if let Some(undo) = doubt
            && let Err(failure) = caught(|| records::revert(&db, undo))
        {
            close(db);
            return Err(failure);
        }
        *doubt = None;
        Ok(db)
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Saved, StoreError> {
        self.with("reading", |db, _| records::load(db))
    }

    fn observed(&self, keys: &[ProjectionKey]) -> Result<Vec<Option<Observed>>, StoreError> {
        self.with("reading", |db, _| records::observed(db, keys))
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.with("writing to", |db, doubt| {
            let transaction = db.begin_write()?;
            // From here to the end of the commit a failure does not tell whether the file has it.
            *doubt = Some(records::apply(&transaction, writes)?);
            transaction.commit()?;
            *doubt = None;
            Ok(())
        })
    }

    fn deliveries(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.with("reading", |db, _| records::deliveries(db, limit))
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.file.path()).finish_non_exhaustive()
    }
}
