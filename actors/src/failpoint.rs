//! Named fail points, compiled only for tests (feature `failpoints`).

/// A place where a test may make the program panic or wait.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        ::fail::fail_point!($name);
    };
}

pub(crate) use failpoint;
