//! An HTTP/1.1 server that misbehaves as it is told, for tests of both crates (`#[path = …] mod fault_server`).
//!
//! A test scripts one [`Reply`] per request; the last one is repeated. Everything is written by hand on plain TCP, so that
//! no library tidies the faults up. The server lives as long as its value and listens on a free port of loopback.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it, and some include it deep inside a crate")]
#![allow(clippy::allow_attributes, reason = "whether these lints fire depends on the test that includes this file")]

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target: path and query, or whatever stood there.
    pub target: String,
    /// The headers in their order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When its head was complete.
    pub at: Instant,
    /// The number of the connection it came on, from 0.
    pub connection: usize,
}

impl Recorded {
    /// The value of the header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What happens after a request arrived.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    steps: Vec<Step>,
    /// Close the connection without reading a request from it.
    at_accept: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Pause(Duration),
    /// Writes this again and again, until the client has enough.
    Forever(Vec<u8>, Duration),
    /// Says nothing more and keeps the connection open.
    Hang,
    /// Orderly end of the connection.
    Close,
    /// `RST`.
    Reset,
    /// Answers `CONNECT` and passes bytes on to the target it names.
    Tunnel,
}

impl Reply {
    /// An answer with a correct length, on a connection that stays open.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self::raw([head.as_bytes(), body].concat())
    }

    /// 200 with a JSON body.
    pub fn json(body: &str) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// A redirect.
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::new(status, &[("location", to)], "moved")
    }

    /// 200 with a compressed JSON body.
    pub fn gzip(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "application/json"), ("content-encoding", "gzip")], gzip(body.as_ref()))
    }

    /// 200 with a small compressed body that becomes `size` spaces.
    pub fn bomb(size: usize) -> Self {
        Self::gzip(vec![b' '; size])
    }

    /// 200 whose body comes in chunks, one per element, properly ended.
    pub fn chunked(chunks: &[&str]) -> Self {
        let mut reply = Self::chunks_without_end(chunks);
        reply.steps.push(Step::Write(b"0\r\n\r\n".to_vec()));
        reply
    }

    /// 200 whose body comes in chunks, without the last one.
    pub fn chunks_without_end(chunks: &[&str]) -> Self {
        let mut text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        for chunk in chunks {
            text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        Self::raw(text)
    }

    /// 200 that announces `announced` bytes, sends `body` and closes.
    pub fn announcing(announced: usize, body: &str) -> Self {
        Self::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {announced}\r\n\r\n{body}")).close()
    }

    /// 200 with a body that never ends.
    pub fn endless() -> Self {
        let chunk = [b"2000\r\n", vec![b'x'; 0x2000].as_slice(), b"\r\n"].concat();
        let mut reply = Self::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        reply.steps.push(Step::Forever(chunk, Duration::ZERO));
        reply
    }

    /// 200 with a body that comes byte by byte and never ends.
    pub fn drip(every: Duration) -> Self {
        let mut reply = Self::raw("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n");
        reply.steps.push(Step::Forever(b" ".to_vec(), every));
        reply
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { steps: vec![Step::Write(bytes.into())], at_accept: false }
    }

    /// No answer at all.
    pub fn hang() -> Self {
        Self { steps: vec![Step::Hang], at_accept: false }
    }

    /// A reset instead of an answer.
    pub fn reset() -> Self {
        Self { steps: vec![Step::Reset], at_accept: false }
    }

    /// The connection is closed as soon as it stands.
    pub fn close_at_accept() -> Self {
        Self { steps: Vec::new(), at_accept: true }
    }

    /// Passes a `CONNECT` on.
    pub fn tunnel() -> Self {
        Self { steps: vec![Step::Tunnel], at_accept: false }
    }

    /// The same after a pause.
    pub fn after(mut self, pause: Duration) -> Self {
        self.steps.insert(0, Step::Pause(pause));
        self
    }

    /// The same, and then the connection is closed without a word in the headers.
    pub fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    /// The same, and then the connection is reset.
    pub fn then_reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    /// The same, and then silence.
    pub fn then_hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }
}

/// Compresses `bytes`.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

/// The running server.
pub struct FaultServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    script: VecDeque<Reply>,
    requests: Vec<Recorded>,
    connections: usize,
    /// Ends all connections when the server goes.
    serving: Vec<JoinHandle<()>>,
}

impl FaultServer {
    /// A server that follows `script`.
    pub async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_with(script, |stream, number, shared| async move {
            let _ = serve(stream, number, shared, |stream: TcpStream| drop(stream.set_zero_linger())).await;
        })
        .await
    }

    /// The same behind `wrap`, e.g. a TLS handshake.
    pub async fn start_wrapped<S, F>(
        script: impl IntoIterator<Item = Reply>,
        wrap: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let wrap = Arc::new(wrap);
        Self::start_with(script, move |stream, number, shared| {
            let wrap = wrap.clone();
            async move {
                if let Ok(stream) = wrap(stream).await {
                    let _ = serve(stream, number, shared, drop).await;
                }
            }
        })
        .await
    }

    async fn start_with<F: Future<Output = ()> + Send + 'static>(
        script: impl IntoIterator<Item = Reply>,
        handle: impl Fn(TcpStream, usize, Arc<Mutex<Shared>>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Mutex::new(Shared { script: script.into_iter().collect(), ..Shared::default() }));
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let number = {
                        let mut shared = lock(&shared);
                        shared.connections += 1;
                        shared.connections - 1
                    };
                    let close = lock(&shared).script.front().is_some_and(|reply| reply.at_accept);
                    if close {
                        next_reply(&shared);
                        continue;
                    }
                    let task = tokio::spawn(handle(stream, number, shared.clone()));
                    lock(&shared).serving.push(task);
                }
            }
        });
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` (with its leading slash) over plain HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Replaces what is left of the script.
    pub fn script(&self, script: impl IntoIterator<Item = Reply>) {
        lock(&self.shared).script = script.into_iter().collect();
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared).requests.clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared).connections
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.accepting.abort();
        for task in &lock(&self.shared).serving {
            task.abort();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_reply(shared: &Mutex<Shared>) -> Reply {
    let mut shared = lock(shared);
    match shared.script.len() {
        0 => Reply::new(501, &[], "nothing is scripted"),
        1 => shared.script[0].clone(),
        _ => shared.script.pop_front().expect("it has two"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    shared: Arc<Mutex<Shared>>,
    reset: impl FnOnce(S),
) -> io::Result<()> {
    while let Some(request) = read_request(&mut stream, connection).await? {
        let target = request.target.clone();
        lock(&shared).requests.push(request);
        for step in next_reply(&shared).steps {
            match step {
                Step::Write(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
                Step::Pause(pause) => sleep(pause).await,
                Step::Forever(bytes, pause) => loop {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                    sleep(pause).await;
                },
                Step::Hang => std::future::pending().await,
                Step::Close => return stream.shutdown().await,
                Step::Reset => {
                    reset(stream);
                    return Ok(());
                }
                Step::Tunnel => {
                    let mut far = TcpStream::connect(&target).await?;
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut far).await?;
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Reads one request; `None` if the client is done.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S, connection: usize) -> io::Result<Option<Recorded>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut recorded = Recorded {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
        at: now(),
        connection,
    };
    let length = recorded.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    recorded.body = vec![0; length];
    stream.read_exact(&mut recorded.body).await?;
    Ok(Some(recorded))
}

#[allow(clippy::disallowed_methods, reason = "a test's server has no clock of its own")]
fn now() -> Instant {
    Instant::now()
}
