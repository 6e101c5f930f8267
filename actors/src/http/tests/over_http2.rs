//! Over HTTP/2, which awc drives in a task of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::certificates::{Authority, VALID};

/// How the server treats its connections.
#[derive(Clone, Copy)]
enum Manner {
    Patient,
    /// Says farewell after each answer.
    OneEach,
    /// Takes the second request of a connection and drops it.
    DropsTheSecond,
    /// Gives up each answer in the middle.
    CutsOff,
}

struct Server {
    url: Url,
    roots: Roots,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// Connections that ended in peace.
    ended: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let authority = Authority::new("the authority of HTTP/2");
        let acceptor = authority.acceptor(&["localhost"], VALID, &["h2"]);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = url(format!("https://localhost:{}/", listener.local_addr().unwrap().port()));
        let (connections, requests, ended) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let accepting = tokio::spawn({
            let (connections, requests, ended) = (connections.clone(), requests.clone(), ended.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (acceptor, requests, ended) = (acceptor.clone(), requests.clone(), ended.clone());
                    tokio::spawn(async move {
                        let mut connection =
                            h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
                        let mut number = 0;
                        while let Some(Ok((request, mut answer))) = connection.accept().await {
                            number += 1;
                            requests.fetch_add(1, Ordering::SeqCst);
                            if matches!(manner, Manner::DropsTheSecond) && number == 2 {
                                return;
                            }
                            // The connection moves only while it is asked for requests.
                            tokio::spawn(async move {
                                let mut body = request.into_body();
                                while let Some(Ok(chunk)) = body.data().await {
                                    let _ = body.flow_control().release_capacity(chunk.len());
                                }
                                let mut body = answer.send_response(Response::new(()), false).unwrap();
                                body.send_data(b"[1"[..].into(), false).unwrap();
                                match manner {
                                    Manner::CutsOff => body.send_reset(h2::Reason::INTERNAL_ERROR),
                                    _ => body.send_data(b"]"[..].into(), true).unwrap(),
                                }
                            });
                            if matches!(manner, Manner::OneEach) {
                                connection.graceful_shutdown();
                            }
                        }
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self { url, roots: Roots::only([authority.certificate()]), connections, requests, ended, accepting }
    }

    fn client(&self) -> HttpClient {
        HttpClient::new(&HttpOptions { roots: self.roots.clone(), ..HttpOptions::default() })
    }

    fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

#[actix_rt::test]
async fn requests_share_a_connection() {
    let server = Server::start(Manner::Patient).await;
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.send(Request::get(&server.url)).await.expect("an answer").body, b"[1]");
    }
    assert_eq!(client.send(Request::post(&server.url, vec![b'x'; 100_000])).await.expect("an answer").body, b"[1]");
    assert_eq!(server.counts(), (1, 4));
}

#[actix_rt::test]
async fn a_connection_that_ended_meanwhile_does_no_harm() {
    let server = Server::start(Manner::OneEach).await;
    let client = server.client();
    for round in 1..=5 {
        assert_eq!(client.send(Request::get(&server.url)).await.expect("an answer").body, b"[1]");
        until(|| server.ended.load(Ordering::SeqCst) == round).await;
    }
    assert_eq!(server.counts(), (5, 5));
}

#[actix_rt::test]
async fn a_get_on_a_dying_connection_is_repeated_on_a_new_one() {
    let server = Server::start(Manner::DropsTheSecond).await;
    let client = server.client();
    for _ in 0..4 {
        assert_eq!(client.send(Request::get(&server.url)).await.expect("an answer").body, b"[1]");
    }
    let before = server.counts().1;
    let error = client.send(Request::post(&server.url, b"x".to_vec())).await;
    assert!(error.is_ok() || error.is_err_and(|error| error.sent), "a POST is sent once at most");
    assert!(server.counts().1 <= before + 1);
}

#[actix_rt::test]
async fn an_answer_that_is_given_up_is_cut_off() {
    let server = Server::start(Manner::CutsOff).await;
    let error = server.client().send(Request::get(&server.url)).await.expect_err("cut off");
    assert_eq!(error.kind, HttpErrorKind::Transport);
    assert!(error.sent);
}
