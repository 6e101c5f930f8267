//! Receivers as the model knows them: a name, and whether something reached it.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A receiver's stable name, e.g. `dispatch-file` or `webhook:https://example.org/hook`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReceiverId(Arc<str>);

impl ReceiverId {
    /// The id with this text.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ReceiverId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a failed delivery may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Certainly not: no connection, or the receiver refused it.
    No,
    /// Perhaps: it was sent, and the answer got lost or was a failure.
    Maybe,
}
