//! What both stand-ins share: a web server on a free loopback port that ends with its owner.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use actix_web::{
    App, HttpRequest, HttpServer,
    dev::ServerHandle,
    http::header,
    web::{PayloadConfig, ServiceConfig},
};
use tokio::task::JoinHandle;

/// The largest body that a stand-in accepts, in bytes.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;

/// A running web server on 127.0.0.1.
///
/// It has one worker thread of its own, so it answers also while the arbiter that started it is busy. Dropping it stops
/// it without waiting.
#[derive(Debug)]
pub(super) struct LocalServer {
    address: SocketAddr,
    handle: ServerHandle,
    /// Polls the server; it ends when the server has stopped.
    task: JoinHandle<io::Result<()>>,
}

impl LocalServer {
    /// Starts a server on a free port, inside the current actix system. `configure` adds the routes.
    ///
    /// # Errors
    /// If no port or no thread is to be had.
    pub(super) fn start(configure: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static) -> io::Result<Self> {
        let server =
            HttpServer::new(move || App::new().app_data(PayloadConfig::new(MAX_BODY)).configure(configure.clone()))
                .workers(1)
                .disable_signals()
                .bind((Ipv4Addr::LOCALHOST, 0))?;
        let Some(&address) = server.addrs().first() else {
            return Err(io::Error::other("the stand-in is bound to no address"));
        };
        let server = server.run();
        let handle = server.handle();
        #[expect(clippy::disallowed_methods, reason = "`stop` ends the task and waits for it, drop ends it")]
        let task = actix_rt::spawn(server);
        Ok(Self { address, handle, task })
    }

    /// The address with scheme, without a slash at the end.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops at once; open connections are closed. Returns when the port is free again.
    pub(super) async fn stop(mut self) {
        self.handle.stop(false).await;
        // The only errors are a panic inside the server and a failed accept; either way it has ended.
        let _ended = (&mut self.task).await;
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // The command is sent by the call; only the confirmation would have to be awaited.
        drop(self.handle.stop(false));
    }
}

/// Whether the request carries `Authorization: Bearer <token>`.
pub(super) fn is_authorized(request: &HttpRequest, token: &str) -> bool {
    request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && given.trim() == token)
}
