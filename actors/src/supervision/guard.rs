//! The guard around an actor's context.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use actix::{
    Actor, ActorContext as _, Addr, Context, Supervised,
    dev::{ContextFut, channel},
};
use futures_util::future::LocalBoxFuture;

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
pub(crate) fn start<A>(actor: A, mailbox: usize, judge: impl Judge) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (sender, receiver) = channel::channel(mailbox);
    let context = Context::with_receiver(receiver).into_future(actor);
    #[expect(clippy::disallowed_methods, reason = "the guard owns the actor and ends with it")]
    actix_rt::spawn(guard(context, judge));
    Addr::new(sender)
}

async fn guard<A>(mut context: ContextFut<A, Context<A>>, judge: impl Judge)
where
    A: Actor<Context = Context<A>> + Supervised,
{
    while let Err(panic) = run(&mut context).await {
        // If the guard itself is dropped while the actor is down, no hook shall run on its torn state.
        context.ctx().terminate();
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
                Err(again) => {
                    context.ctx().terminate();
                    panic = again;
                }
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
