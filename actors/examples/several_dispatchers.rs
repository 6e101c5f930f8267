//! Several dispatchers in one process, each on a thread of its own, under a `main` that has no runtime at all.

use std::{error::Error, sync::mpsc, thread, time::Duration};

use futures_util::StreamExt as _;
use ograph_dispatcher_actors::{Dispatcher, Handle, Settings, events::Event};

mod common;

fn start(project: &str, inbox: &common::Inbox) -> Result<Handle, Box<dyn Error>> {
    let mut settings = Settings::watching(vec![format!("tasks?project={project}").parse()?]);
    settings.watch.idle = Duration::from_millis(20);
    settings.schedule.active = Duration::from_millis(20);
    let dispatcher = Dispatcher::builder()
        .settings(settings)
        .source(common::counter())
        .availability(common::always_free)
        .receiver(inbox.receiver(project));
    Ok(dispatcher.start_on_own_arbiter()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let inbox = common::Inbox::default();
    let (pushed, told) = mpsc::channel();
    let mut dispatchers = Vec::new();
    for project in ["apollo", "gemini", "mercury"] {
        let dispatcher = start(project, &inbox)?;
        let (mut events, pushed) = (dispatcher.subscribe(), pushed.clone());
        // Any executor will do for a handle.
        thread::spawn(move || {
            block_on(async {
                while let Some(record) = events.next().await {
                    if matches!(record.event, Event::Pushed { .. }) {
                        let _ = pushed.send(project);
                    }
                }
            });
        });
        dispatchers.push(dispatcher);
    }
    for _ in &dispatchers {
        println!("{} was told", told.recv_timeout(Duration::from_secs(30))?);
    }
    for dispatcher in dispatchers {
        block_on(dispatcher.shutdown(Duration::from_secs(5)));
    }
    assert_eq!(inbox.documents(), 3, "each has its own cooldown");
    Ok(())
}

/// The smallest executor there is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
