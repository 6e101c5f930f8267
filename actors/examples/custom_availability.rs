//! An availability of one's own: the semaphore with which the host limits its own work.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    Dispatcher, Settings,
    availability::{Availability, AvailabilityError},
    events::Event,
    model::availability::Free,
};
use tokio::sync::Semaphore;

mod common;

/// As many slots are free as the host has permits left.
struct Permits(Arc<Semaphore>);

impl Availability for Permits {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        let free = u64::try_from(self.0.available_permits()).unwrap_or(u64::MAX);
        async move { Ok(Free::Slots(free)) }.boxed_local()
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let workers = Arc::new(Semaphore::new(4));
    // The host is busy: one permit is left, and two are needed.
    let busy = Arc::clone(&workers).acquire_many_owned(3).await?;

    let mut settings = Settings::watching(vec!["orders".parse()?]);
    settings.watch.idle = Duration::from_millis(50);
    settings.schedule.active = Duration::from_millis(50);
    settings.schedule.min_available = 2;
    let permits = Arc::clone(&workers);
    let inbox = common::Inbox::default();
    let dispatcher = Dispatcher::builder()
        .settings(settings)
        .source(common::counter())
        .availability(move || Permits(Arc::clone(&permits)))
        .receiver(inbox.receiver("worker"))
        .start()?;

    let mut events = dispatcher.subscribe();
    let mut busy = Some(busy);
    while let Some(record) = events.next().await {
        match &record.event {
            Event::Standing { reason, .. } => println!("{reason}"),
            Event::Changed { .. } if busy.is_some() => {
                assert_eq!(inbox.documents(), 0, "nothing is pushed without room");
                println!("the host has time again");
                busy = None;
            }
            Event::Pushed { .. } => break,
            _ => {}
        }
    }
    assert_eq!(inbox.documents(), 1);
    dispatcher.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
