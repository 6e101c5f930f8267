//! The control server: shows and steers the running daemon over HTTP.
//!
//! # Guarantees
//! - It runs on a thread of its own and reads published snapshots: nothing that is asked here, and nobody who is slow to
//!   listen, delays the actors.
//! - Everything but liveness, readiness and the page's empty shell needs the token.
//! - If it cannot listen where it shall, the daemon does not start.
//!
//! # Layout
//! - `routes`: the table of calls; `calls`: what they do; `view`: what they answer; `openapi`: their description
//! - `guard`: what holds for every request; `access`: token and host; `files`: `control.json` and the kept token
//! - `health`: named conditions; `words`: why nothing was sent; `metrics`: the same in numbers
//! - `events`: what happens, as it happens; `hook`: OGraph's reactions; `page`: the status page

mod access;
mod calls;
mod events;
mod files;
mod guard;
mod health;
mod hook;
mod metrics;
mod openapi;
mod page;
mod problem;
mod routes;
#[cfg(test)]
mod testing;
mod view;
mod words;

use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{Extensions, ServerHandle},
    middleware::from_fn,
    web::Data,
};
use ograph_dispatcher_actors::{
    Handle,
    clock::{Clock, Now},
    secret::Secret,
};
use tokio::task::JoinHandle;
use url::Url;

use self::{
    access::{Gate, Hosts},
    events::History,
    files::ControlFile,
    health::Outside,
    hook::PollWish,
};
use crate::{
    config::{Config, Listen},
    events_file::Trouble,
    reload::Reloader,
};

/// How many connections may be open at the same time.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take for the head of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a client may leave what is written to it unread.
#[cfg(target_os = "linux")]
const STALLED: Duration = Duration::from_secs(30);
/// How long calls under way may take when the server stops, in seconds.
const STOP_GRACE: u64 = 1;

/// Why there is no control server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The address.
    #[error(
        "cannot listen on {listen}: {error}; set `control.listen` (OGRAPH_CONTROL_LISTEN) to another address, to port 0 \
         for any, or to null (\"off\") for no control server"
    )]
    Listen {
        /// Where.
        listen: Listen,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The files in the state folder.
    #[error("the control server: {0}")]
    Io(#[from] io::Error),
}

/// A control server that has its address, but does not answer yet: what can fail fails before the daemon starts.
#[derive(Debug)]
pub(crate) struct Bound {
    listen: Listen,
    listener: TcpListener,
    address: SocketAddr,
    token: Secret,
    config: Config,
}

impl Bound {
    /// Takes the address, if there shall be a control server, and finds or makes the token.
    ///
    /// # Errors
    /// If the address is not to be had, or the token cannot be kept.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, ControlError> {
        let Some(mut listen) = config.control.listen.clone() else { return Ok(None) };
        let token = match config.control.token.clone() {
            Some(token) => token,
            None => files::kept_token(&config.state_dir)?,
        };
        let listener = match bind(&listen) {
            // Nobody asked for this port: another daemon of this user may well have it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && listen == Listen::default() => {
                log::warn!("{listen} is in use, so the control server takes another port; `control.listen` sets one");
                listen.port = 0;
                bind(&listen)
            }
            bound => bound,
        };
        let refused = |error| ControlError::Listen { listen: listen.clone(), error };
        let listener = listener.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Some(Self { listen, listener, address, token, config: config.clone() }))
    }

    /// Starts to answer, inside the current actix system.
    ///
    /// # Errors
    /// If the system gives no thread, or `control.json` cannot be written.
    pub(crate) fn serve(
        self,
        handle: &Handle,
        reloader: &Arc<Reloader>,
        clock: &Arc<dyn Clock>,
        events_file: Option<Trouble>,
    ) -> Result<ControlServer, ControlError> {
        let Self { listen, listener, address, token, config } = self;
        let started = clock.now();
        let control = Data::new(Control {
            handle: handle.clone(),
            reloader: Arc::clone(reloader),
            clock: Arc::clone(clock),
            started,
            gate: Gate::new(&token),
            hosts: Hosts::new(&listen, address.port()),
            history: History::new(format!("{:x}", started.wall.as_millis())),
            wish: PollWish::default(),
            events_file,
            stopping: AtomicBool::new(false),
        });
        let shared = control.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(shared.clone()).wrap(from_fn(guard::guard)).configure(routes::configure)
        })
        .workers(1)
        .disable_signals()
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(REQUEST_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(STOP_GRACE)
        .on_connect(drop_stalled)
        .listen(listener)?
        .run();
        let stop = server.handle();
        let url = url(&listen, address);
        let page = Url::parse(&url).ok().map(|url| page_url(url, &token));
        let file = ControlFile::write(&config.state_dir, &url, &token)?;
        log::info!("control at {url}/ (the token is in {}/control.json)", config.state_dir.display());
        let tasks = [
            spawn(async {
                // What could fail at the start has been tried; a failed accept is tried again inside.
                let _ended = server.await;
            }),
            spawn(Arc::clone(&control.history).follow(handle.subscribe())),
            spawn(control.wish.clone().fulfil(handle.clone())),
        ];
        Ok(ControlServer { page, control, stop, file, tasks })
    }
}

#[expect(clippy::disallowed_methods, reason = "`ControlServer` owns these tasks and ends them")]
fn spawn(task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    actix_rt::spawn(task)
}

/// The address of the status page, with the token where browsers keep it to themselves.
pub(crate) fn page_url(mut url: Url, token: &Secret) -> Url {
    let pair = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token.expose()).finish();
    url.set_fragment(Some(&pair));
    url
}

fn bind(listen: &Listen) -> io::Result<TcpListener> {
    let addresses = (listen.host.as_str(), listen.port).to_socket_addrs()?.collect::<Vec<_>>();
    // The standard library lets a restarted daemon have its address at once, without letting two have it.
    TcpListener::bind(addresses.as_slice())
}

/// The address that clients on this machine use.
fn url(listen: &Listen, address: SocketAddr) -> String {
    let port = address.port();
    let host = if address.ip().is_unspecified() {
        if address.is_ipv6() { "::1" } else { "127.0.0.1" }.to_owned()
    } else {
        listen.host.clone()
    };
    format!("http://{}", Listen { host, port })
}

/// A client that reads nothing of what is written to it is dropped by the system. Elsewhere it only uses up its place.
#[cfg(target_os = "linux")]
fn drop_stalled(connection: &dyn Any, _: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        let millis = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
        // Without it the limits on connections still hold.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
    }
}

#[cfg(not(target_os = "linux"))]
fn drop_stalled(_: &dyn Any, _: &mut Extensions) {}

/// What every call may use.
struct Control {
    handle: Handle,
    reloader: Arc<Reloader>,
    clock: Arc<dyn Clock>,
    started: Now,
    gate: Gate,
    hosts: Hosts,
    history: Arc<History>,
    wish: PollWish,
    events_file: Option<Trouble>,
    stopping: AtomicBool,
}

impl Control {
    /// What the actors do not know.
    fn outside(&self) -> Outside {
        let trouble = self.events_file.as_ref();
        Outside {
            refused: self.reloader.known().refused,
            events_file: trouble.and_then(|it| it.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            stopping: self.stopping.load(Ordering::Relaxed),
        }
    }
}

/// A running control server.
pub(crate) struct ControlServer {
    control: Data<Control>,
    stop: ServerHandle,
    file: ControlFile,
    page: Option<Url>,
    tasks: [JoinHandle<()>; 3],
}

impl ControlServer {
    /// The address of the status page, with the token.
    pub(crate) fn page(&self) -> Option<Url> {
        self.page.clone()
    }

    /// Stops it: nobody is let in any more, streams end, calls under way get a moment. Then `control.json` is gone.
    pub(crate) async fn stop(self) {
        self.control.stopping.store(true, Ordering::Relaxed);
        self.control.history.end();
        self.file.remove();
        self.stop.stop(true).await;
        for task in self.tasks {
            task.abort();
        }
    }
}
