//! The daemon: what happens between a valid configuration and the end of the process.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

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
    logging,
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
    announce(config);
    System::new().block_on(async {
        let signals = Signals::listen()?;
        let handle = Dispatcher::new(setup, store).clock(Arc::clone(&clock)).start()?;
        let manager = Manager::of(&loader.environment);
        serve(&handle, signals, &manager, |handle| reload(loader, &clock, handle)).await
    })
}

fn announce(config: &Config) {
    log::info!(
        "ograph-dispatcher {} watches {} projections at {}",
        env!("CARGO_PKG_VERSION"),
        config.ograph.projections.len(),
        config.ograph.endpoint
    );
}

/// Follows the signals until the dispatcher ends.
async fn serve<F>(
    handle: &Handle,
    mut signals: Signals,
    manager: &Manager,
    reload: impl Fn(Handle) -> F,
) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = ()>,
{
    let mut ended = Box::pin(handle.ended());
    // What was asked for and is not done yet. Nobody waits for it, so nothing is held up by it.
    let mut tasks = FuturesUnordered::new();
    tasks.push(manager.clone().attend(handle.clone()).boxed_local());
    manager.ready().await;
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut ended => return give_up(handle, ended).await,
            Some(()) = tasks.next() => continue,
        };
        match signal {
            Signal::Stop => break,
            Signal::Flush => {
                let handle = handle.clone();
                tasks.push(async move { report_flush(handle.flush().await) }.boxed_local());
            }
            Signal::Reload => tasks.push(manager.during_reload(reload(handle.clone())).boxed_local()),
        }
    }
    manager.stopping().await;
    log::info!("stopping; deliveries under way may take {} s more, a second signal stops at once", GRACE.as_secs());
    let shutdown = Box::pin(handle.shutdown(GRACE));
    let again = Box::pin(async { while signals.next().await != Signal::Stop {} });
    match select(shutdown, again).await {
        Either::Left(_) => {
            log::info!("stopped");
            Ok(())
        }
        Either::Right(_) => Err("stopped at once; what was under way is repeated after the next start".into()),
    }
}

async fn give_up(handle: &Handle, ended: Ended) -> Result<(), Box<dyn Error>> {
    handle.shutdown(GRACE).await;
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Escalated { actor, panic } => {
            Err(format!("the {actor} panicked too often, the last time: {panic}").into())
        }
    }
}

fn report_flush(report: Result<FlushReport, ControlError>) {
    match report {
        Ok(report) if report.batches.is_empty() => log::info!("flush: nothing was pending"),
        Ok(report) => log::info!("flush: {} of {} receivers told", report.delivered, report.batches.len()),
        Err(error) => log::warn!("flush: {error}"),
    }
}

/// Loads the configuration anew. Everything that can fail comes first; then it is in force, or nothing has changed.
async fn reload(loader: &Loader, clock: &Arc<dyn Clock>, handle: Handle) {
    let loaded = match loader.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            log::error!("the configuration is not reloaded, the one before stays in force:\n{error}");
            return;
        }
    };
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    match assemble::setup(&loaded.config, &loader.environment, clock) {
        Ok(setup) => match handle.reload(setup).await {
            Ok(()) => log::info!("the configuration is reloaded"),
            Err(error) => log::error!("the configuration is not reloaded: {error}"),
        },
        Err(error) => log::error!("the configuration is not reloaded, the one before stays in force: {error}"),
    }
}
