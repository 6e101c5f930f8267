//! The store without a dispatcher: looked at, copied, compacted. Nothing here begins a store or sets one aside.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::Path,
    sync::Mutex,
};

use super::{
    super::StoreError,
    RedbStore, State,
    failure::caught,
    file::{self, DatabaseFile, close, io_error},
};

impl RedbStore {
    /// Opens the store in `dir` as it is. A missing or damaged one is an error, and is left where it is.
    ///
    /// Opening may repair what a crash left behind, which writes to the file: to change nothing, open a
    /// [copy](Self::copy).
    ///
    /// # Errors
    /// Besides those of [`open`](Self::open), [`StoreError::Damaged`], and [`StoreError::Io`] if there is no store.
    pub fn open_existing(dir: &Path) -> Result<Self, StoreError> {
        let file = DatabaseFile::new(dir, file::attach());
        fs::metadata(file.path()).map_err(|source| io_error("looking for", file.path(), source))?;
        let claim = file.claim()?;
        let db = file.open_checked().map_err(|failure| file.error("opening", failure))?;
        Ok(Self { file, state: Mutex::new(State { db: Some(db), doubt: None }), _claim: claim })
    }

    /// Copies the store in `from` into the existing directory `to`, and writes nothing to `from`.
    ///
    /// # Errors
    /// If a dispatcher uses it, if there is none, or if the system refuses something.
    pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        let file = DatabaseFile::new(from, file::attach());
        let _unused = shared_claim(&file, from)?;
        fs::copy(file.path(), to.join("state.redb")).map_err(|source| io_error("copying", file.path(), source))?;
        Ok(())
    }

    /// Gives back the space that the store in `dir` no longer needs; its size in bytes before and after.
    ///
    /// # Errors
    /// As for [`open_existing`](Self::open_existing). The content is what it was, whatever fails.
    pub fn compact(dir: &Path) -> Result<(u64, u64), StoreError> {
        let file = DatabaseFile::new(dir, file::attach());
        let size = || {
            let found = fs::metadata(file.path()).map_err(|source| io_error("looking for", file.path(), source));
            found.map(|found| found.len())
        };
        let before = size()?;
        let _claim = file.claim()?;
        let mut db = file.open_checked().map_err(|failure| file.error("opening", failure))?;
        let compacted = caught(|| Ok(db.compact()?));
        close(db);
        compacted.map_err(|failure| file.error("compacting", failure))?;
        Ok((before, size()?))
    }
}

/// A lock that keeps dispatchers away for as long as it lives, without writing anything.
fn shared_claim(file: &DatabaseFile, dir: &Path) -> Result<Option<File>, StoreError> {
    let path = dir.join("state.lock");
    // Without the file nobody has it: a dispatcher makes it first.
    let Ok(lock) = OpenOptions::new().read(true).open(path) else { return Ok(None) };
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: file.path().to_owned() }),
        // A file system without locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(lock)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        Store as _,
        tests::samples::{dump, one_of_each},
    };

    #[test]
    fn a_copy_holds_what_the_store_holds_and_the_store_is_untouched() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = RedbStore::open(dir.path()).unwrap().store;
        store.commit(&one_of_each("a")).unwrap();
        let before = dump(&store);
        assert_eq!(RedbStore::copy(dir.path(), other.path()).unwrap_err().label(), "locked");
        drop(store);
        let bytes = fs::read(dir.path().join("state.redb")).unwrap();
        RedbStore::copy(dir.path(), other.path()).unwrap();
        assert_eq!(dump(&RedbStore::open_existing(other.path()).unwrap()), before);
        assert_eq!(fs::read(dir.path().join("state.redb")).unwrap(), bytes);
    }

    #[test]
    fn compacting_keeps_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path()).unwrap().store;
        for _ in 0..50 {
            store.commit(&one_of_each("a")).unwrap();
        }
        let content = dump(&store);
        assert_eq!(RedbStore::compact(dir.path()).unwrap_err().label(), "locked");
        drop(store);
        let (before, after) = RedbStore::compact(dir.path()).unwrap();
        assert!(after <= before, "{before} to {after} bytes");
        assert_eq!(dump(&RedbStore::open_existing(dir.path()).unwrap()), content);
    }

    #[test]
    fn what_is_missing_or_damaged_is_an_error_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert_eq!(RedbStore::open_existing(&missing).unwrap_err().label(), "io");
        assert_eq!(RedbStore::copy(&missing, dir.path()).unwrap_err().label(), "io");
        assert_eq!(RedbStore::compact(&missing).unwrap_err().label(), "io");
        assert!(!missing.exists());
        let path = dir.path().join("state.redb");
        fs::write(&path, "this is no store").unwrap();
        assert_eq!(RedbStore::open_existing(dir.path()).unwrap_err().label(), "damaged");
        assert_eq!(RedbStore::compact(dir.path()).unwrap_err().label(), "damaged");
        assert_eq!(fs::read(&path).unwrap(), b"this is no store");
    }
}
