//! What every store does, shown of each of them.

mod property;
pub(in crate::store) mod samples;
mod suite;

use std::path::Path;

use tempfile::TempDir;

use super::{MemoryStore, RedbStore, Store};

/// A store under test.
pub(in crate::store) trait Harness {
    fn new() -> Self;

    fn store(&self) -> &dyn Store;

    /// As if the process had ended and begun again.
    fn reopen(&mut self);
}

/// A store in memory; nothing ends it.
pub(in crate::store) struct InMemory(MemoryStore);

impl Harness for InMemory {
    fn new() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn reopen(&mut self) {}
}

/// A store in a file, in a directory of its own.
pub(in crate::store) struct InFile {
    dir: TempDir,
    store: Option<RedbStore>,
}

impl Harness for InFile {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Some(open(dir.path()));
        Self { dir, store }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("an open store")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path()));
    }
}

/// Opens a store of which nothing is damaged.
pub(in crate::store) fn open(dir: &Path) -> RedbStore {
    let opened = RedbStore::open(dir).expect("a store");
    assert_eq!(opened.set_aside, None);
    opened.store
}
