//! The database's file: made, claimed, opened, checked, set aside.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, backends::FileBackend};

use super::{
    super::StoreError,
    CACHE, SetAside,
    failure::{Failure, caught},
    records,
};

/// Makes a database of an open file. Tests put a failing disk in between.
pub(super) type Attach = Box<dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync>;

/// The way to a database for everybody but tests.
pub(super) fn attach() -> Attach {
    Box::new(|builder, file| builder.create_with_backend(FileBackend::new(file)?))
}

/// Closes a database. What goes wrong then is found, and repaired, when it is opened again.
pub(super) fn close(db: Database) {
    let _ = caught(|| Ok(db.close()?));
}

/// `state.redb` in its directory.
pub(super) struct DatabaseFile {
    dir: PathBuf,
    path: PathBuf,
    attach: Attach,
}

impl DatabaseFile {
    pub(super) fn new(dir: &Path, attach: Attach) -> Self {
        Self { dir: dir.to_owned(), path: dir.join("state.redb"), attach }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The caller's error for a failure while `doing` something with this file.
    pub(super) fn error(&self, doing: &str, failure: Failure) -> StoreError {
        failure.into_error(doing, &self.path)
    }

    /// Makes the directory and locks it against other stores, for as long as the answer lives.
    ///
    /// The database locks its own file, but that file may be renamed here, and is closed for a moment after a failure.
    pub(super) fn claim(&self) -> Result<File, StoreError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir).map_err(|source| io_error("creating", &self.dir, source))?;

        let path = self.dir.join("state.lock");
        let file = private().create(true).open(&path).map_err(|source| io_error("opening", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: self.path.clone() }),
            // A file system without locks: the database says the same of its own and goes on.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            Err(TryLockError::Error(source)) => Err(io_error("locking", &path, source)),
        }
    }

    /// Opens the database and believes every record of it; begins a new one if there is none or it is damaged.
    pub(super) fn open_or_begin(&self) -> Result<(Database, Option<SetAside>), StoreError> {
        if !self.path.try_exists().map_err(|source| io_error("looking for", &self.path, source))? {
            self.begin()?;
        }
        match self.open_checked() {
            Err(Failure::Damaged(reason)) => {
                let path = self.set_aside()?;
                self.begin()?;
                let db = self.open_checked().map_err(|failure| self.error("opening", failure))?;
                Ok((db, Some(SetAside { path, reason })))
            }
            Err(failure) => Err(self.error("opening", failure)),
            Ok(db) => Ok((db, None)),
        }
    }

    /// Opens the database that is there. Its pages are verified, its records are not.
    pub(super) fn open(&self) -> Result<Database, Failure> {
        let mut file = private().open(&self.path).map_err(Failure::Io)?;
        inspect(&mut file)?;
        self.attach(file)
    }

    fn open_checked(&self) -> Result<Database, Failure> {
        let db = self.open()?;
        match caught(|| records::check(&db)) {
            Ok(()) => Ok(db),
            Err(failure) => {
                close(db);
                Err(failure)
            }
        }
    }

    /// Makes an empty database. It gets its name only when it is complete, so that a file of that name which makes no
    /// sense is damaged, and not just begun.
    fn begin(&self) -> Result<(), StoreError> {
        let path = self.dir.join("state.redb.new");
        let begun = private().create(true).truncate(true).open(&path).map_err(Failure::Io).and_then(|file| {
            let db = self.attach(file)?;
            let begun = caught(|| records::begin(&db));
            close(db);
            begun
        });
        if let Err(failure) = begun {
            // Only a courtesy: the next attempt truncates it.
            let _ = fs::remove_file(&path);
            return Err(failure.into_error("creating", &path));
        }
        self.rename(&path, &self.path)
    }

    /// Moves the file out of the way, never onto another one.
    fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
        let path = (1_u64..)
            .map(|number| self.dir.join(format!("state.redb.damaged-{number}")))
            .find(|path| !taken(path))
            .expect("a directory holds fewer files than there are numbers");
        self.rename(&self.path, &path)?;
        Ok(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        fs::rename(from, to).map_err(|source| io_error("renaming", from, source))?;
        // The new name is durable once the directory is; elsewhere directories cannot be synced.
        #[cfg(unix)]
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| io_error("syncing", &self.dir, source))?;
        Ok(())
    }

    fn attach(&self, file: File) -> Result<Database, Failure> {
        let mut builder = Builder::new();
        // Checked, because the database may panic on a damaged file that it opens without.
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        caught(|| Ok((self.attach)(&builder, file)?))
    }
}

/// For reading and writing, and if it is created, for its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Refuses a file that is meant to be in another format of the database, which the database itself calls damage, and an
/// empty one, in which it would begin.
///
/// Both commit slots of the header begin with the format: if they agree, it is meant so; if only one differs, it is damage.
fn inspect(file: &mut File) -> Result<(), Failure> {
    const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
    const SLOTS: [usize; 2] = [64, 192];
    const KNOWN_FORMAT: u8 = 3;
    const PLAUSIBLE_FORMATS: std::ops::Range<u8> = 1..32;

    let mut header = Vec::new();
    file.take(SLOTS[1] as u64 + 1).read_to_end(&mut header).map_err(Failure::Io)?;
    if header.is_empty() {
        return Err(Failure::Damaged("the file is empty".to_owned()));
    }
    match SLOTS.map(|slot| header.get(slot)) {
        [Some(&format), Some(&other)]
            if header.starts_with(MAGIC)
                && format == other
                && format != KNOWN_FORMAT
                && PLAUSIBLE_FORMATS.contains(&format) =>
        {
            Err(Failure::Foreign(format))
        }
        _ => Ok(()),
    }
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing: format!("{doing} {}", path.display()), source }
}
