//! Catching panics together with where they happened.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook},
    pin::Pin,
    sync::Once,
    task::{Context, Poll},
};

/// A caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// Its message.
    pub message: String,
    /// `file:line:column`, if known.
    pub location: Option<String>,
}

impl Panic {
    /// Panics again, on another thread than the first time; whoever catches that gets this.
    pub(crate) fn resume(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.location {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

thread_local! {
    /// How many `catch` calls this thread is in, and where the last panic inside one happened.
    static CAUGHT: RefCell<(usize, Option<String>)> = const { RefCell::new((0, None)) };
}

/// Runs `f` and catches its panic. Inside, panics are not printed: whoever catches one reports it.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    note_locations();
    CAUGHT.with_borrow_mut(|(depth, _)| *depth += 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    let location = CAUGHT.with_borrow_mut(|(depth, location)| {
        *depth -= 1;
        location.take()
    });
    result.map_err(|payload| match payload.downcast::<Panic>() {
        Ok(resumed) => *resumed,
        Err(payload) => Panic { message: message(payload.as_ref()), location },
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Adds to the process's panic hook, once: the only way to learn where a panic happened. Panics outside of [`catch`]
/// go to the hook that was there before.
fn note_locations() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let inside = CAUGHT
                .try_with(|caught| {
                    let Ok(mut caught) = caught.try_borrow_mut() else { return false };
                    caught.1 = info.location().map(ToString::to_string);
                    caught.0 > 0
                })
                .unwrap_or(false);
            if !inside {
                previous(info);
            }
        }));
    });
}

/// A future whose panic is its error.
pub(crate) struct CatchPanic<F>(pub(crate) F);

impl<F: Future + Unpin> Future for CatchPanic<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch(|| Pin::new(&mut self.0).poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_and_location_are_caught() {
        let line = line!() + 1;
        let panic = catch(|| panic!("out of {}", "cheese")).expect_err("a panic");
        assert_eq!(panic.message, "out of cheese");
        let location = panic.location.expect("a location");
        assert!(location.contains(&format!("panics.rs:{line}:")), "{location}");
    }

    #[test]
    fn a_panic_that_goes_on_elsewhere_is_the_same() {
        let panic = catch(|| panic!("off the thread")).expect_err("a panic");
        let resumed = panic.clone();
        assert_eq!(catch(|| resumed.resume()).map(|(): ()| ()), Err(panic));
    }

    #[test]
    fn a_value_that_is_no_text_is_no_problem() {
        let panic = catch(|| std::panic::panic_any(7)).expect_err("a panic");
        assert_eq!(panic.message, "a panic without a message");
        assert_eq!(catch(|| 8), Ok(8));
    }

    #[test]
    fn a_panic_inside_a_caught_one_leaves_the_outer_untouched() {
        let outer = catch(|| {
            let inner = catch(|| panic!("inner")).expect_err("a panic");
            assert_eq!(inner.message, "inner");
            "fine"
        });
        assert_eq!(outer, Ok("fine"));
    }
}
