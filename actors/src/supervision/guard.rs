//! The guard around an actor's context.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use actix::{
    Actor, ActorContext as _, Addr, Context, Supervised,
    dev::{ContextFut, channel},
};
use futures_util::future::{LocalBoxFuture, select};

use super::{
    panics::{Panic, catch},
    policy::Verdict,
};

/// Decides what becomes of an actor that panicked.
pub(crate) trait Judge: 'static {
    /// The verdict. Called once for every panic.
    fn judge(&self, panic: Panic) -> LocalBoxFuture<'_, Verdict>;
}

/// Starts `actor` on this thread's arbiter, guarded. The address stays valid over every restart.
///
/// It ends when it stops, is given up, or `halted` resolves; then at once, whatever it is doing, and no hook is run.
pub(crate) fn start<A>(
    actor: A,
    mailbox: usize,
    judge: impl Judge,
    halted: impl Future<Output = ()> + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (sender, receiver) = channel::channel(mailbox);
    let context = Held(Context::with_receiver(receiver).into_future(actor));
    #[expect(clippy::disallowed_methods, reason = "the guard owns the actor and ends with it")]
    actix_rt::spawn(async move {
        // The actor first: what it has to say before it is halted is still said.
        select(pin!(guard(context, judge)), pin!(halted)).await;
    });
    Addr::new(sender)
}

/// A context that ends silently. By itself it would run the actor once more when it is dropped, on a state that may be
/// torn and in a runtime that may be gone.
struct Held<A: Actor<Context = Context<A>>>(ContextFut<A, Context<A>>);

impl<A: Actor<Context = Context<A>>> Drop for Held<A> {
    fn drop(&mut self) {
        self.0.ctx().terminate();
    }
}

async fn guard<A>(mut held: Held<A>, judge: impl Judge)
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let context = &mut held.0;
    while let Err(panic) = run(context).await {
        let mut panic = panic;
        loop {
            match judge.judge(panic).await {
                Verdict::GiveUp => return,
                Verdict::Restart(delay) => pause(delay).await,
            }
            match catch(|| context.restart()) {
                Ok(true) => break,
                // Nobody holds its address any more.
                Ok(false) => return,
                Err(again) => panic = again,
            }
        }
    }
}

/// Runs the actor until it stops or panics.
async fn run<A>(context: &mut ContextFut<A, Context<A>>) -> Result<(), Panic>
where
    A: Actor<Context = Context<A>>,
{
    poll_fn(|cx| match catch(|| Pin::new(&mut *context).poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

async fn pause(delay: Duration) {
    actix_rt::time::sleep(delay).await;
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
    };

    use actix::{AsyncContext as _, Handler, Message, fut::wrap_future};

    use super::*;

    /// Panics where it is told to, and remembers what it was asked.
    struct Toy {
        log: Log,
        panic_in_started: Rc<Cell<bool>>,
        panic_in_restarting: Rc<Cell<bool>>,
    }

    type Log = Rc<RefCell<Vec<&'static str>>>;

    #[derive(Message, Clone, Copy)]
    #[rtype(result = "()")]
    enum Tell {
        Note(&'static str),
        PanicInHandler,
        PanicInTimer,
        PanicInSpawned,
        PanicInWait,
    }

    impl Actor for Toy {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Self::Context) {
            assert!(!self.panic_in_started.take(), "in started");
            self.log.borrow_mut().push("started");
        }

        fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
            self.log.borrow_mut().push("stopping");
            actix::Running::Stop
        }
    }

    impl Supervised for Toy {
        fn restarting(&mut self, _: &mut Self::Context) {
            assert!(!self.panic_in_restarting.take(), "in restarting");
            self.log.borrow_mut().push("restarting");
        }
    }

    impl Handler<Tell> for Toy {
        type Result = ();

        fn handle(&mut self, tell: Tell, context: &mut Self::Context) {
            match tell {
                Tell::Note(note) => self.log.borrow_mut().push(note),
                Tell::PanicInHandler => panic!("in a handler"),
                Tell::PanicInTimer => {
                    context.run_later(Duration::from_millis(5), |_, _| panic!("in a timer"));
                }
                Tell::PanicInSpawned => {
                    context.spawn(wrap_future(async { panic!("in a future") }));
                }
                Tell::PanicInWait => context.wait(wrap_future(async { panic!("in a wait") })),
            }
        }
    }

    /// Restarts after 10 ms, `restarts` times.
    struct Patience {
        restarts: Cell<usize>,
        panics: Rc<RefCell<Vec<String>>>,
    }

    impl Judge for Patience {
        fn judge(&self, panic: Panic) -> LocalBoxFuture<'_, Verdict> {
            assert!(panic.location.is_some_and(|location| location.contains("guard.rs")));
            self.panics.borrow_mut().push(panic.message);
            let left = self.restarts.get();
            self.restarts.set(left.saturating_sub(1));
            Box::pin(
                async move { if left == 0 { Verdict::GiveUp } else { Verdict::Restart(Duration::from_millis(10)) } },
            )
        }
    }

    struct Scene {
        toy: Addr<Toy>,
        log: Log,
        panics: Rc<RefCell<Vec<String>>>,
        panic_in_started: Rc<Cell<bool>>,
        panic_in_restarting: Rc<Cell<bool>>,
    }

    fn scene(restarts: usize) -> Scene {
        let (log, panics) = (Log::default(), Rc::default());
        let (panic_in_started, panic_in_restarting) = (Rc::default(), Rc::default());
        let toy = Toy {
            log: Rc::clone(&log),
            panic_in_started: Rc::clone(&panic_in_started),
            panic_in_restarting: Rc::clone(&panic_in_restarting),
        };
        let judge = Patience { restarts: Cell::new(restarts), panics: Rc::clone(&panics) };
        Scene { toy: start(toy, 16, judge, std::future::pending()), log, panics, panic_in_started, panic_in_restarting }
    }

    #[actix::test]
    async fn wherever_it_panics_the_actor_is_restarted_and_its_mailbox_is_kept() {
        tokio::time::pause();
        for (how, message) in [
            (Tell::PanicInHandler, "in a handler"),
            (Tell::PanicInTimer, "in a timer"),
            (Tell::PanicInSpawned, "in a future"),
            (Tell::PanicInWait, "in a wait"),
        ] {
            let scene = scene(1);
            scene.toy.do_send(how);
            // It is down now.
            pause(Duration::from_millis(8)).await;
            scene.toy.do_send(Tell::Note("queued"));
            scene.toy.send(Tell::Note("answered")).await.expect("the address is still good");
            assert_eq!(*scene.panics.borrow(), [message]);
            assert_eq!(*scene.log.borrow(), ["started", "restarting", "started", "queued", "answered"]);
        }
    }

    #[actix::test]
    async fn a_panic_in_started_or_restarting_is_judged_again() {
        tokio::time::pause();
        let scene = scene(3);
        scene.panic_in_started.set(true);
        scene.panic_in_restarting.set(true);
        scene.toy.send(Tell::Note("answered")).await.expect("the address is still good");
        assert_eq!(*scene.panics.borrow(), ["in started", "in restarting"]);
        assert_eq!(*scene.log.borrow(), ["restarting", "started", "answered"]);
    }

    #[actix::test]
    async fn an_actor_that_was_given_up_is_gone_and_no_hook_ran_on_its_torn_state() {
        tokio::time::pause();
        let scene = scene(0);
        assert!(scene.toy.send(Tell::PanicInHandler).await.is_err());
        assert!(scene.toy.send(Tell::Note("nobody hears")).await.is_err());
        assert!(!scene.toy.connected());
        assert_eq!(*scene.log.borrow(), ["started"]);
    }
}
