//! The daemon: what happens between a valid configuration and the end of the process.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use actix_rt::System;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Either, select},
    stream::FuturesUnordered,
};
use ograph_dispatcher_actors::{
    Dispatcher, Ended, Handle,
    clock::{Clock, SystemClock},
    messages::{ControlError, FlushReport},
    store::{Opened, RedbStore, SetAside},
};

use crate::{
    assemble,
    config::{Config, Loaded, Loader},
    control::{self, ControlServer},
    events_file::EventsFile,
    logging,
    reload::Reloader,
    signals::{Signal, Signals},
    systemd::Manager,
};

/// How long deliveries under way may take at a graceful stop.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until it is told to stop. `loader` loads the configuration anew at a reload.
///
/// # Errors
/// If the daemon cannot start, gives up after too many panics, or is told a second time to stop.
pub fn run(loader: &Loader, loaded: &Loaded) -> Result<(), Box<dyn Error>> {
    let config = &loaded.config;
    logging::init(config.log_format);
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let setup = assemble::setup(config, &loader.environment, &clock)?;
    let Opened { store, set_aside } = RedbStore::open(&config.state_dir)?;
    if let Some(SetAside { path, reason }) = set_aside {
        log::error!(
            "the stored state was damaged ({reason}); it is kept as {}, and everything starts from a fresh baseline: \
             changes that were pending are lost, and what changed meanwhile is not noticed",
            path.display()
        );
    }
    let control = control::Bound::new(config)?;
    announce(config);
    System::new().block_on(async {
        let signals = Signals::listen()?;
        let handle = Dispatcher::new(setup, store).clock(Arc::clone(&clock)).start()?;
        let daemon = Daemon::start(loader, loaded, &clock, control, handle.clone());
        let daemon = match daemon {
            Ok(daemon) => daemon,
            Err(error) => {
                handle.shutdown(GRACE).await;
                return Err(error);
            }
        };
        daemon.run(signals).await
    })
}

fn announce(config: &Config) {
    log::info!(
        "ograph-dispatcher {} watches {} at {}",
        env!("CARGO_PKG_VERSION"),
        match config.ograph.projections.len() {
            1 => "1 projection".to_owned(),
            many => format!("{many} projections"),
        },
        config.ograph.endpoint
    );
}

/// The dispatcher with all that surrounds it.
struct Daemon {
    handle: Handle,
    reloader: Arc<Reloader>,
    control: Option<ControlServer>,
    events_file: Option<EventsFile>,
    manager: Manager,
}

impl Daemon {
    fn start(
        loader: &Loader,
        loaded: &Loaded,
        clock: &Arc<dyn Clock>,
        control: Option<control::Bound>,
        handle: Handle,
    ) -> Result<Self, Box<dyn Error>> {
        let path = loaded.config.events_file.clone();
        let events_file = path.map(|path| open_events_file(&path, &handle)).transpose()?;
        let reloader = Arc::new(Reloader::new(loader.clone(), loaded, Arc::clone(clock), handle.clone()));
        let trouble = events_file.as_ref().map(EventsFile::trouble);
        let control = control.map(|control| control.serve(&handle, &reloader, clock, trouble)).transpose()?;
        Ok(Self { handle, reloader, control, events_file, manager: Manager::of(&loader.environment) })
    }

    /// Runs until the dispatcher ends, or a signal ends it.
    async fn run(self, mut signals: Signals) -> Result<(), Box<dyn Error>> {
        let ended = follow(&self.handle, &self.reloader, &self.manager, &mut signals).await;
        let again = Box::pin(async { while signals.next().await != Signal::Stop {} });
        if let Either::Right(_) = select(Box::pin(self.end()), again).await {
            return Err("stopped at once; what was under way is repeated after the next start".into());
        }
        match ended {
            None | Some(Ended::Stopped) => {
                log::info!("stopped");
                Ok(())
            }
            Some(Ended::Escalated { actor, panic }) => {
                Err(format!("the {actor} panicked too often, the last time: {panic}").into())
            }
        }
    }

    async fn end(self) {
        self.manager.stopping().await;
        // First those who ask, so that nobody is answered by half a daemon.
        if let Some(control) = self.control {
            control.stop().await;
        }
        self.handle.shutdown(GRACE).await;
        if let Some(events_file) = self.events_file {
            events_file.finish();
        }
    }
}

fn open_events_file(path: &Path, handle: &Handle) -> Result<EventsFile, String> {
    EventsFile::start(path.to_owned(), handle)
        .map_err(|error| format!("cannot append to {} (`log.eventsFile`): {error}", path.display()))
}

/// Follows the signals until one says stop, or the dispatcher ends by itself.
async fn follow(handle: &Handle, reloader: &Arc<Reloader>, manager: &Manager, signals: &mut Signals) -> Option<Ended> {
    let mut ended = Box::pin(handle.ended());
    // What was asked for and is not done yet. Nobody waits for it, so nothing is held up by it.
    let mut tasks = FuturesUnordered::new();
    tasks.push(manager.clone().attend(handle.clone()).boxed_local());
    manager.ready().await;
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut ended => return Some(ended),
            Some(()) = tasks.next() => continue,
        };
        match signal {
            Signal::Stop => break,
            Signal::Flush => {
                let handle = handle.clone();
                tasks.push(async move { report_flush(handle.flush().await) }.boxed_local());
            }
            Signal::Reload => {
                let reloader = Arc::clone(reloader);
                // It says itself what came of it.
                let reload = async move { drop(reloader.reload().await) };
                tasks.push(manager.during_reload(reload).boxed_local());
            }
        }
    }
    log::info!("stopping; deliveries under way may take {} s more, a second signal stops at once", GRACE.as_secs());
    None
}

fn report_flush(report: Result<FlushReport, ControlError>) {
    match report {
        Ok(report) if report.batches.is_empty() => log::info!("flush: nothing was pending"),
        Ok(report) => log::info!("flush: {} of {} receivers told", report.delivered, report.batches.len()),
        Err(error) => log::warn!("flush: {error}"),
    }
}
