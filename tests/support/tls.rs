//! TLS in front of a plain server, with certificates that can be as wrong as the world's.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, VALID};

/// How the front meets its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With a certificate that is right in every way.
    Good,
    /// With one whose time is over.
    Expired,
    /// With one whose time is still to come.
    Early,
    /// With one for somebody else.
    OtherName,
    /// With one from an authority that nobody here trusts.
    Stranger,
    /// Without TLS, in plain HTTP.
    Plain,
    /// By closing the connection when it is greeted.
    Cut,
    /// With silence.
    Silent,
}

/// A running front. Dropping it closes its port and all its connections.
pub(crate) struct TlsFront {
    address: SocketAddr,
    authority: String,
    manner: watch::Sender<Manner>,
    /// The clients whose handshake has come to its end in the manner of the moment.
    trusted: Arc<Mutex<usize>>,
    serving: Option<JoinHandle<()>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl TlsFront {
    /// A front for the plain server at `behind`, in good manner.
    pub(crate) fn start(behind: SocketAddr) -> Self {
        let (authority, stranger) = (Authority::new("the tests' authority"), Authority::new("a stranger"));
        let pem = authority.pem();
        let (manner, watched) = watch::channel(Manner::Good);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (started, address) = std::sync::mpsc::channel();
        let trusted = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&trusted);
        let serving = std::thread::spawn(move || {
            let acceptor = move |manner| -> Option<TlsAcceptor> {
                Some(match manner {
                    Manner::Good => authority.acceptor(&["localhost"], VALID, &[]),
                    Manner::Expired => authority.acceptor(&["localhost"], 2000..2001, &[]),
                    Manner::Early => authority.acceptor(&["localhost"], 2089..2090, &[]),
                    Manner::OtherName => authority.acceptor(&["other.example"], VALID, &[]),
                    Manner::Stranger => stranger.acceptor(&["localhost"], VALID, &[]),
                    Manner::Plain | Manner::Cut | Manner::Silent => return None,
                })
            };
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
                started.send(listener.local_addr().expect("an address")).expect("somebody waits");
                let accepting = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let manner = *watched.borrow();
                        let (acceptor, counted, mut watched) =
                            (acceptor(manner), Arc::clone(&counted), watched.clone());
                        watched.mark_unchanged();
                        tokio::spawn(async move {
                            // Whoever has been met in another manner has to come again.
                            tokio::select! {
                                () = meet(stream, behind, manner, acceptor, &counted) => {}
                                _ = watched.changed() => {}
                            }
                        });
                    }
                };
                tokio::select! { () = accepting => {}, _ = stopped => {} }
            });
        });
        let address = address.recv().expect("it listens");
        Self { address, authority: pem, manner, trusted, serving: Some(serving), stop: Some(stop) }
    }

    /// The address with scheme, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The authority to trust, as a PEM file.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// From now on clients are met in this manner; those that are connected are let go.
    pub(crate) fn meet(&self, manner: Manner) {
        self.manner.send_replace(manner);
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = 0;
    }

    /// How many clients have trusted it since the manner was set.
    pub(crate) fn trusted(&self) -> usize {
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _panicked = serving.join();
        }
    }
}

async fn meet(
    mut stream: TcpStream,
    behind: SocketAddr,
    manner: Manner,
    acceptor: Option<TlsAcceptor>,
    trusted: &Mutex<usize>,
) {
    let Some(acceptor) = acceptor else {
        let mut greeting = [0; 512];
        let _gone = stream.read(&mut greeting).await;
        match manner {
            Manner::Plain => {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"value\":\"wrong\"}";
                let _gone = stream.write_all(answer).await;
            }
            Manner::Silent => std::future::pending().await,
            _ => {}
        }
        return;
    };
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    // With TLS 1.3 a client may turn away after that: only what it says shows that it trusts.
    let mut first = [0; 4096];
    let Ok(length @ 1..) = stream.read(&mut first).await else { return };
    *trusted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let Ok(mut plain) = TcpStream::connect(behind).await else { return };
    if plain.write_all(&first[..length]).await.is_ok() {
        let _gone = copy_bidirectional(&mut stream, &mut plain).await;
    }
}
