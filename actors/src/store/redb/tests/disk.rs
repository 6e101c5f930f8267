//! A disk that fails when it is told to, between the database and its file.

use std::{
    fs::File,
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

use super::super::file::Attach;

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No write succeeds until the disk is healed.
    Full,
    /// As [`Full`](Self::Full), and the first failing write leaves half of its bytes.
    Torn,
    /// One write, resize or sync fails, the next succeeds.
    Once,
    /// Nothing can be read until the disk is healed.
    Unreadable,
}

/// The switches of a disk.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<Switches>);

#[derive(Debug, Default)]
struct Switches {
    fault: Option<Fault>,
    /// How many operations still succeed before the fault sets in.
    before: u64,
    so_far: SoFar,
}

/// What happened since a fault was ordered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SoFar {
    /// How many operations succeeded before the fault set in.
    pub(super) spent: u64,
    /// Whether the fault hit anything.
    pub(super) hit: bool,
}

impl Disk {
    /// Lets `before` more operations succeed, then fail.
    pub(super) fn fail(&self, fault: Fault, before: u64) {
        *self.switches() = Switches { fault: Some(fault), before, so_far: SoFar::default() };
    }

    /// Ends the fault.
    pub(super) fn heal(&self) -> SoFar {
        std::mem::take(&mut *self.switches()).so_far
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.0.lock().unwrap()
    }

    fn read(&self) -> io::Result<()> {
        let mut switches = self.switches();
        if switches.fault != Some(Fault::Unreadable) || switches.passes() {
            return Ok(());
        }
        switches.so_far.hit = true;
        Err(io::Error::other("input/output error"))
    }

    /// Admits one write, resize or sync; else says how the disk fails.
    fn change(&self) -> Result<(), (Fault, io::Error)> {
        let mut switches = self.switches();
        let Some(fault) = switches.fault.filter(|fault| *fault != Fault::Unreadable) else { return Ok(()) };
        let before = switches.so_far.hit;
        if switches.passes() || fault == Fault::Once && before {
            return Ok(());
        }
        switches.so_far.hit = true;
        let fault = if before { Fault::Full } else { fault };
        Err((fault, io::Error::new(io::ErrorKind::StorageFull, "no space left on device")))
    }
}

impl Switches {
    /// Whether the fault has not set in yet.
    fn passes(&mut self) -> bool {
        if self.before == 0 {
            return false;
        }
        self.before -= 1;
        self.so_far.spent += 1;
        true
    }
}

/// A disk with switches.
pub(super) fn switched() -> (Arc<Disk>, Attach) {
    through(true)
}

/// A disk with switches that never waits.
pub(super) fn quick() -> (Arc<Disk>, Attach) {
    through(false)
}

fn through(sync: bool) -> (Arc<Disk>, Attach) {
    let disk = Arc::new(Disk::default());
    let switches = Arc::clone(&disk);
    let attach: Attach = Box::new(move |builder, file: File| {
        let (inner, disk) = (FileBackend::new(file)?, Arc::clone(&switches));
        builder.create_with_backend(OnDisk { inner, disk, sync })
    });
    (disk, attach)
}

#[derive(Debug)]
struct OnDisk {
    inner: FileBackend,
    disk: Arc<Disk>,
    sync: bool,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read()?;
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change().map_err(|(_, error)| error)?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change().map_err(|(_, error)| error)?;
        if self.sync { self.inner.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.disk.change() {
            Ok(()) => self.inner.write(offset, data),
            Err((fault, error)) => {
                if fault == Fault::Torn {
                    self.inner.write(offset, &data[..data.len() / 2])?;
                }
                Err(error)
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
