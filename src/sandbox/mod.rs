//! The sandbox: the real dispatcher between stand-ins for OGraph and OpenClaw on loopback, with a little story that makes
//! them change, told line by line.

pub(crate) mod ograph;
pub(crate) mod openclaw;
mod server;
pub(crate) mod story;
mod teller;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use actix_rt::System;
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use ograph_dispatcher_actors::{
    Dispatcher, Handle,
    clock::{Clock, SystemClock},
    store::RedbStore,
};
use serde_json::{Value, json};
use url::Url;

use self::{
    ograph::OGraphStandIn,
    openclaw::OpenClawStandIn,
    story::{PLAYGROUND, SLOTS, Story},
    teller::Teller,
};
use crate::{
    assemble,
    config::{Config, Environment, Flags, Loader},
    control::{self, ControlServer},
    logging,
    reload::Reloader,
    signals::{Signal, Signals},
};

/// The secrets of the stand-ins. They guard nothing.
const OGRAPH_TOKEN: &str = "sandbox-ograph";
const OPENCLAW_TOKEN: &str = "sandbox-openclaw";

/// How many events are taken together, so that what belongs together is told in one line.
const TOGETHER: usize = 64;

/// How long deliveries under way may take at the end.
const GRACE: Duration = Duration::from_secs(3);

/// Plays until `duration` is over or somebody stops it, and tells the story on `out`.
///
/// # Errors
/// If a stand-in cannot listen, nothing can be written, or the dispatcher gives up.
pub(crate) fn run(duration: Option<Duration>, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    logging::init_quiet();
    System::new().block_on(play(duration, out))
}

async fn play(duration: Option<Duration>, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("ograph-sandbox-").tempdir()?;
    let ograph = OGraphStandIn::start(OGRAPH_TOKEN)?;
    let openclaw = OpenClawStandIn::start(OPENCLAW_TOKEN, SLOTS)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let loader = configure(folder.path(), &ograph, &openclaw)?;
    let loaded = loader.load()?;
    let config = &loaded.config;

    let mut signals = Signals::listen()?;
    let story = Story::new(fastrand::u64(..));
    story::open(&story, &ograph, &openclaw);
    let handle = start(config, &clock)?;
    let control = control::Bound::new(config)?;
    let reloader = Arc::new(Reloader::new(loader.clone(), &loaded, Arc::clone(&clock), handle.clone()));
    let control = control.map(|control| control.serve(&handle, &reloader, &clock, None)).transpose()?;
    let mut teller = Teller::new(Arc::clone(&clock), io::stdout().is_terminal());
    introduce(out, &ograph, config, control.as_ref().and_then(ControlServer::page))?;

    let mut events = handle.subscribe().ready_chunks(TOGETHER);
    let (lines, mut narration) = tokio::sync::mpsc::unbounded_channel();
    let mut scenes = Box::pin(story::play(story, &ograph, &openclaw, move |line| {
        // The other end lives as long as the story.
        let _ = lines.send(line.to_owned());
    }));
    let mut time_is_up: LocalBoxFuture<'_, ()> = match duration {
        Some(duration) => Box::pin(actix_rt::time::sleep(duration)),
        None => Box::pin(std::future::pending()),
    };
    loop {
        tokio::select! {
            Some(line) = narration.recv() => teller.narrate(out, &line)?,
            Some(events) = events.next() => teller.report(out, &events)?,
            () = &mut time_is_up => break,
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Flush => drop(handle.flush().await),
                Signal::Reload => {}
            },
            ended = handle.ended() => return Err(format!("the dispatcher ended: {ended:?}").into()),
            never = &mut scenes => match never {},
        }
    }
    drop(scenes);
    if let Some(control) = control {
        control.stop().await;
    }
    handle.shutdown(GRACE).await;
    while let Some(Some(rest)) = futures_util::FutureExt::now_or_never(events.next()) {
        teller.report(out, &rest)?;
    }
    teller.summarise(out, openclaw.deliveries().len())?;
    ograph.stop().await;
    openclaw.stop().await;
    Ok(())
}

/// A configuration as a user would write it, with short intervals, to be loaded as a user's is.
fn configure(folder: &Path, ograph: &OGraphStandIn, openclaw: &OpenClawStandIn) -> io::Result<Loader> {
    let text: Value = json!({
        "ograph": {"endpoint": ograph.url(), "token": OGRAPH_TOKEN, "projections": Story::projections()},
        "oc": {"statusEndpoint": openclaw.status_endpoint(), "statusToken": OPENCLAW_TOKEN, "minAvailable": 2},
        "intervals": {
            "watcherIdle": 2000, "watcherActive": 500,
            "schedulerIdle": 2000, "schedulerActive": 500,
            "cooldownAfterPush": 6000,
        },
        "push": {"dispatchFile": folder.join("dispatch.json"), "openclaw": {"enabled": false}},
        "agents": [{
            "type": "oc-plugin", "name": "openclaw-plugin",
            "url": openclaw.dispatch_endpoint(), "secret": OPENCLAW_TOKEN, "actor": "sandbox",
        }],
        "state": {"dir": folder.join("state")},
        "control": {"listen": "127.0.0.1:0"},
    });
    let file = folder.join("dispatcher.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&text)?)?;
    let environment = Environment { temp: folder.to_owned(), ..Environment::default() };
    Ok(Loader { environment, flags: Flags::new(Some(file)) })
}

fn start(config: &Config, clock: &Arc<dyn Clock>) -> Result<Handle, Box<dyn Error>> {
    let setup = assemble::setup(config, &Environment::default(), clock)?;
    let store = RedbStore::open(&config.state_dir)?.store;
    Ok(Dispatcher::new(setup, store).clock(Arc::clone(clock)).start()?)
}

fn introduce(out: &mut dyn Write, ograph: &OGraphStandIn, config: &Config, page: Option<Url>) -> io::Result<()> {
    let url = ograph.url();
    let url = url.trim_end_matches('/');
    writeln!(out, "The sandbox: the real dispatcher between an OGraph and an OpenClaw that are made up.")?;
    writeln!(out, "It polls every 2 s (0.5 s while something happens), pushes when 2 of {SLOTS} slots are free, and")?;
    writeln!(out, "leaves its receivers alone for 6 s after a push. Change something yourself:")?;
    writeln!(out)?;
    writeln!(out, "  curl -X PUT {url}/projections/{PLAYGROUND} -d '{{\"hello\": 1}}'")?;
    if let Some(file) = &config.push.dispatch_file {
        writeln!(out, "  cat {}", file.display())?;
    }
    if let Some(page) = page {
        writeln!(out)?;
        writeln!(out, "See it as it happens: {page}")?;
    }
    writeln!(out)
}
