//! A raw HTTP/1.1 server on plain threads, whose answers can be as broken as the world's.
//!
//! It runs on a free loopback port until it is dropped, keeps connections alive, and logs every request with the number
//! of requests for the same target that were unanswered at that moment.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use rustix::net::{RecvFlags, sockopt};
use serde_json::Value;

/// Longer request heads are refused.
const MAX_HEAD: u64 = 64 * 1024;

/// A running server. Dropping it closes its port and all its connections.
pub(crate) struct TestServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// When its last byte arrived.
    pub(crate) at: Instant,
    /// `GET`, `POST`, …
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    /// In the order in which they were sent; the names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Without transfer encoding.
    pub(crate) body: Vec<u8>,
    /// How many earlier requests for the same target still had no answer, and a client that waited for one.
    pub(crate) overlapping: usize,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers, and keeps the connection.
    Answer(Answer),
    /// Answers like this after a while, whether or not anybody waits.
    Late(Duration, Box<Self>),
    /// Never answers; ends when the client goes away.
    Hang,
    /// Resets the connection (RST).
    Reset,
    /// Writes these bytes and closes.
    Raw(Vec<u8>),
    /// Promises the whole body, sends half of it and closes.
    Truncated(Answer),
    /// Sends the body again and again, in chunks that never end.
    Endless(Answer),
    /// Answers correctly, but byte by byte with a pause after each.
    Drip(Answer, Duration),
}

/// A well-formed answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// All but `Content-Length`.
    pub(crate) headers: Vec<(String, String)>,
    /// As it is written.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The target without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether it carries this bearer token.
    pub(crate) fn bears(&self, token: &str) -> bool {
        self.header("authorization") == Some(format!("Bearer {token}").as_str())
    }

    /// The body as JSON; panics if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body of {} {} is no JSON: {error}", self.method, self.target))
    }
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON answer.
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    /// A page, as proxies and captive portals send it.
    pub(crate) fn html(status: u16) -> Self {
        Self::text(status, "text/html; charset=utf-8", "<!doctype html><title>Something else</title>")
    }

    /// A body of this type.
    pub(crate) fn text(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }.header("content-type", content_type)
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, compressed.
    pub(crate) fn gzip(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.body).expect("memory takes everything");
        self.body = encoder.finish().expect("memory takes everything");
        self.header("content-encoding", "gzip")
    }

    fn head(&self, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Whatever\r\n{framing}\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn whole(&self) -> Vec<u8> {
        // 304 and 204 have no body, and no length of one.
        let framing = match self.status {
            204 | 304 => "x-framing: none".to_owned(),
            _ => format!("content-length: {}", self.body.len()),
        };
        let mut bytes = self.head(&framing);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl TestServer {
    /// Starts a server that asks `handler` what to do with each request; panics if no port is to be had.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { handler: Box::new(handler), state: Mutex::default(), changed: Condvar::new() });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The address with scheme, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.state().log.clone()
    }

    /// How many requests for this target there were so far.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.shared.state().counts.get(target).copied().unwrap_or(0)
    }

    /// Whether no connection is open: everything that was ever sent to it has been dealt with.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.state().connections.iter().all(|connection| connection.strong_count() == 0)
    }

    /// How many requests for this target are unanswered right now, while their client waits.
    pub(crate) fn unanswered(&self, target: &str) -> usize {
        self.shared.state().overlapping(target)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.shared.state();
            state.stopping = true;
            std::mem::take(&mut state.connections)
        };
        self.shared.changed.notify_all();
        for connection in connections.iter().filter_map(Weak::upgrade) {
            let _already_closed = connection.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread.
        let _refused = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _panicked = accepting.join();
        }
    }
}

struct Shared {
    handler: Box<dyn Fn(&Request) -> Reply + Send + Sync>,
    /// Never held while the handler runs or while anything is read or written.
    state: Mutex<State>,
    /// Notified when the server stops.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    connections: Vec<Weak<TcpStream>>,
    log: Vec<Request>,
    /// How many requests of each target are in the log.
    counts: HashMap<String, usize>,
    /// Number, target and connection of each request whose answer has not begun (or, if it is a slow one, not ended).
    unanswered: Vec<(u64, String, Weak<TcpStream>)>,
    next_number: u64,
}

impl State {
    fn overlapping(&mut self, target: &str) -> usize {
        // The client may have given up, and our thread not have noticed yet.
        self.unanswered.retain(|(_, _, connection)| connection.upgrade().is_some_and(|stream| is_open(&stream)));
        self.unanswered.iter().filter(|(_, other, _)| other == target).count()
    }
}

/// A request that waits for its answer; dropping it means that it has it.
struct Unanswered<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.shared.state().unanswered.retain(|(number, _, _)| *number != self.number);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            let Ok(connection) = connection.map(Arc::new) else { continue };
            {
                let mut state = self.state();
                if state.stopping {
                    return;
                }
                state.connections.retain(|connection| connection.strong_count() > 0);
                state.connections.push(Arc::downgrade(&connection));
            }
            let shared = Arc::clone(self);
            // Ends with its connection, which the server closes when it is dropped. Every error is the client's choice.
            std::thread::spawn(move || drop(shared.serve(&connection)));
        }
    }

    fn serve(&self, connection: &Arc<TcpStream>) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(&**connection);
        while let Some(mut request) = read_request(&mut reader)? {
            let unanswered = self.log(&mut request, connection);
            let reply = (self.handler)(&request);
            if !self.reply(reply, connection, unanswered)? {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, request: &mut Request, connection: &Arc<TcpStream>) -> Unanswered<'_> {
        let mut state = self.state();
        request.overlapping = state.overlapping(&request.target);
        state.log.push(request.clone());
        *state.counts.entry(request.target.clone()).or_default() += 1;
        let number = state.next_number;
        state.next_number += 1;
        state.unanswered.push((number, request.target.clone(), Arc::downgrade(connection)));
        Unanswered { shared: self, number }
    }

    /// Does it; `false` if the connection must not be used again.
    fn reply(&self, reply: Reply, connection: &TcpStream, unanswered: Unanswered<'_>) -> io::Result<bool> {
        let mut stream = connection;
        match reply {
            Reply::Answer(answer) => {
                // Before the answer: as soon as the client has it, it may ask again.
                drop(unanswered);
                stream.write_all(&answer.whole())?;
                return Ok(true);
            }
            Reply::Late(after, reply) => {
                return Ok(self.pause(after) && self.reply(*reply, connection, unanswered)?);
            }
            Reply::Hang => while stream.read(&mut [0; 1024])? > 0 {},
            Reply::Reset => sockopt::set_socket_linger(connection, Some(Duration::ZERO))?,
            Reply::Raw(bytes) => {
                drop(unanswered);
                stream.write_all(&bytes)?;
            }
            Reply::Truncated(answer) => {
                drop(unanswered);
                let bytes = answer.whole();
                stream.write_all(&bytes[..bytes.len() - answer.body.len().div_ceil(2)])?;
            }
            Reply::Endless(answer) => {
                stream.write_all(&answer.head("transfer-encoding: chunked"))?;
                let chunk = [format!("{:x}\r\n", answer.body.len()).as_bytes(), &answer.body, b"\r\n"].concat();
                loop {
                    stream.write_all(&chunk)?;
                }
            }
            Reply::Drip(answer, pause) => {
                for byte in answer.whole() {
                    stream.write_all(&[byte])?;
                    if !self.pause(pause) {
                        break;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Waits; `false` if the server stopped meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let state = self.state();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, time, |state| !state.stopping)
            .unwrap_or_else(PoisonError::into_inner);
        !state.stopping
    }
}

/// The next request; `None` at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = MAX_HEAD.saturating_sub(head.len() as u64);
        if reader.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { at: now(), method, target, headers, body: Vec::new(), overlapping: 0 };
    if request.header("transfer-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked")) {
        read_chunks(reader, &mut request.body)?;
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    request.at = now();
    Ok(Some(request))
}

fn read_chunks(reader: &mut BufReader<&TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        reader.by_ref().take(size).read_to_end(body)?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Whether the client has not closed its side.
fn is_open(stream: &TcpStream) -> bool {
    match rustix::net::recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, received)) => received > 0,
        Err(error) => error == rustix::io::Errno::WOULDBLOCK,
    }
}

#[expect(clippy::disallowed_methods, reason = "tests over real sockets run in real time")]
fn now() -> Instant {
    Instant::now()
}
