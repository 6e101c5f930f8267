//! Free slots, and the rules by which they are read from a status answer.

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// So many slots.
    Slots(u64),
    /// The answer only says whether there is room: `true` counts as enough, `false` as none.
    Room(bool),
}

impl Free {
    /// The number of free slots, where `min_available` stands for "enough".
    #[must_use]
    pub fn slots(self, min_available: u64) -> u64 {
        match self {
            Self::Slots(slots) => slots,
            Self::Room(true) => min_available,
            Self::Room(false) => 0,
        }
    }

    /// Whether that is room for a push that needs `min_available` slots.
    #[must_use]
    pub fn is_enough(self, min_available: u64) -> bool {
        match self {
            Self::Slots(slots) => slots >= min_available,
            Self::Room(room) => room,
        }
    }
}
