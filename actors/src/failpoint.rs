//! Named fail points: places where a test makes an actor panic, or the whole process die.
//!
//! They exist only with the feature `failpoints` and only in builds with debug assertions, so that no release has them,
//! whatever features it was built with. Two actions of the crate `fail` mean something here: `panic` and `return`, which
//! is death without any destructor.

/// A place where a test may make the program panic or die.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(all(feature = "failpoints", debug_assertions))]
        $crate::failpoint::pass($name);
    };
}

pub(crate) use failpoint;

#[cfg(all(feature = "failpoints", debug_assertions))]
pub(crate) fn pass(name: &str) {
    if fail::eval(name, |_| ()).is_some() {
        std::process::abort();
    }
}
