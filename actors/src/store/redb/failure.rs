//! How the database fails, and what the store's caller is told of it.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::super::StoreError;

/// Why something could not be done with the database.
#[derive(Debug)]
pub(super) enum Failure {
    /// What stands in the file cannot be believed.
    Damaged(String),
    /// A newer version of this program wrote the records.
    TooNew(u32),
    /// The file is in another format of the database, older or newer, than the one known here.
    Foreign(u8),
    /// The system refused.
    Io(io::Error),
    /// Somebody else has the file open.
    Locked,
    /// Anything else that the database reports.
    Database(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        use redb::Error as E;
        match error.into() {
            // A read beyond the end, or a file that is no database at all.
            E::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
                Self::Damaged(error.to_string())
            }
            E::Io(error) => Self::Io(error),
            E::Backend(error) => Self::Io(io::Error::other(error)),
            error @ E::PreviousIo => Self::Io(io::Error::other(error)),
            E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Self::Locked,
            // A file that is in another format as a whole was found before; here only a part of it says so.
            error @ (E::Corrupted(_)
            | E::UpgradeRequired(_)
            | E::TableDoesNotExist(_)
            | E::TableIsMultimap(_)
            | E::TableTypeMismatch { .. }
            | E::TypeDefinitionChanged { .. }) => Self::Damaged(error.to_string()),
            error => Self::Database(error),
        }
    }
}

impl Failure {
    /// The caller's error for a failure while `doing` (`reading`, `writing to`) something with the file at `path`.
    pub(super) fn into_error(self, doing: &str, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Damaged(reason) => {
                StoreError::Damaged(format!("{}: {reason}; a restart sets it aside", path.display()))
            }
            Self::TooNew(found) => StoreError::TooNew { path, found },
            Self::Foreign(format) => StoreError::Database(format!(
                "{} is in database format {format}, which this program cannot read; \
                 use the program that wrote it, or another state.dir",
                path.display()
            )),
            Self::Io(source) => StoreError::Io { doing: format!("{doing} {}", path.display()), source },
            Self::Locked => StoreError::Locked { path },
            Self::Database(error) => StoreError::Database(format!("{doing} {}: {error}", path.display())),
        }
    }
}

/// Calls `act`. A panic in it is damage: the database panics where it finds what it never wrote.
pub(super) fn caught<T>(act: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // Whatever a panic may have left half-done is closed and opened anew by the caller.
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(Failure::Damaged(format!("the database panicked: {}", message(&*panic)))))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
