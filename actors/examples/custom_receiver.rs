//! A receiver of one's own: an actor of the host, told by a message.

use std::{error::Error, time::Duration};

use actix::{Actor, Addr, Context, Handler, MailboxError, Message};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    Dispatcher,
    model::{document::Document, receiver::ReceiverId},
    receivers::{DeliveryError, Reached, Receipt, Receiver},
    store::Outcome,
};

mod common;

/// What the host's actor is told.
#[derive(Message)]
#[rtype(result = "Result<(), String>")]
struct Work(Document);

/// The host's actor. It is busy the first time.
#[derive(Default)]
struct Worker {
    asked: usize,
    batches: Vec<String>,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Work> for Worker {
    type Result = Result<(), String>;

    fn handle(&mut self, Work(document): Work, _: &mut Self::Context) -> Self::Result {
        self.asked += 1;
        if self.asked == 1 {
            return Err("not now".to_owned());
        }
        // Delivery is at least once: the batch id tells a repetition from news.
        let batch = document.envelope.batch_id.to_string();
        if !self.batches.contains(&batch) {
            println!("{} changes to work on", document.changes.len());
            self.batches.push(batch);
        }
        Ok(())
    }
}

struct ToWorker {
    id: ReceiverId,
    worker: Addr<Worker>,
}

impl Receiver for ToWorker {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        async {
            match self.worker.send(Work(document.clone())).timeout(Duration::from_secs(10)).await {
                Ok(Ok(())) => Ok(Receipt { detail: "accepted".to_owned() }),
                // It said no: it does not have the document.
                Ok(Err(reason)) => Err(DeliveryError::retry(Reached::No, reason)),
                // It may have begun before it was gone.
                Err(MailboxError::Closed | MailboxError::Timeout) => {
                    Err(DeliveryError::retry(Reached::Maybe, "the worker did not answer"))
                }
            }
        }
        .boxed_local()
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let worker = Worker::default().start();
    let dispatcher = Dispatcher::builder()
        .watch("orders".parse()?)
        .source(common::counter())
        .availability(common::always_free)
        .receiver(move || ToWorker { id: ReceiverId::new("worker"), worker: worker.clone() })
        .start()?;
    // Only a flush pushes now.
    dispatcher.pause().await?;
    dispatcher.poll().await?;
    for _ in 0..2 {
        for batch in dispatcher.flush().await?.batches {
            println!("{}: {:?}, {}", batch.receiver, batch.outcome, batch.detail);
        }
    }
    let log = dispatcher.deliveries(10)?;
    assert_eq!(log.iter().map(|delivery| delivery.outcome).collect::<Vec<_>>(), [Outcome::Delivered, Outcome::Failed]);
    dispatcher.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
