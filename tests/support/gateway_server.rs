//! A stand-in for OpenClaw's gateway on a real WebSocket, that misbehaves on demand.
//!
//! It writes its frames by hand, so that it can also send what no library would.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it, and some include it deep inside a crate")]
#![allow(clippy::allow_attributes, reason = "whether these lints fire depends on the test that includes this file")]

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Mutex as Writer,
    task::JoinHandle,
    time::sleep,
};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// What the gateway does with a call.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with this payload.
    Answer(Value),
    /// Answers with this error.
    Refuse(Value),
    /// Does the same after a pause; other calls go on meanwhile.
    After(Duration, Box<Act>),
    /// Never answers.
    Ignore,
    /// Closes the WebSocket with this code and reason.
    Close(u16, &'static str),
    /// Cuts the TCP connection.
    Cut,
    /// Writes these bytes instead.
    Raw(Vec<u8>),
}

impl Act {
    /// An error with a code and `details.code`.
    pub fn error(code: &str, detail: Option<&str>) -> Self {
        Self::Refuse(json!({"code": code, "message": "no", "details": {"code": detail}}))
    }

    /// A text frame.
    pub fn text(text: &str) -> Self {
        Self::Raw(frame(TEXT, text.as_bytes()))
    }
}

/// How the gateway greets.
#[derive(Clone, Debug, PartialEq)]
pub enum Greeting {
    /// As the real one does.
    Normal,
    /// The upgrade is answered with these bytes instead.
    Http(&'static str),
    /// The connection stands, but nothing is ever said.
    Silent,
    /// It is starting.
    Starting,
    /// The first message is not the gateway's.
    Text(&'static str),
}

type Handler = Arc<dyn Fn(&str, &Value) -> Act + Send + Sync>;

struct Shared {
    greeting: Greeting,
    token: String,
    protocol: u64,
    answers_pings: bool,
    muted: bool,
    handler: Handler,
    calls: Vec<(String, Value)>,
    connections: usize,
    open: usize,
    pings: usize,
    serving: Vec<JoinHandle<()>>,
}

/// The running gateway.
pub struct GatewayServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: JoinHandle<()>,
}

impl GatewayServer {
    /// A gateway that knows `token` and answers calls by `handler`.
    pub async fn start(token: &str, handler: impl Fn(&str, &Value) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), token, handler).await
    }

    /// The same at an address that is known already.
    pub async fn start_at(
        address: SocketAddr,
        token: &str,
        handler: impl Fn(&str, &Value) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Mutex::new(Shared {
            greeting: Greeting::Normal,
            token: token.to_owned(),
            protocol: 4,
            answers_pings: true,
            muted: false,
            handler: Arc::new(handler),
            calls: Vec::new(),
            connections: 0,
            open: 0,
            pings: 0,
            serving: Vec::new(),
        }));
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let task = tokio::spawn({
                        let shared = Arc::clone(&shared);
                        async move {
                            let open = Open::new(shared);
                            let _ = serve(stream, &open.0).await;
                        }
                    });
                    lock(&shared).serving.push(task);
                }
            }
        });
        Self { address, shared, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this scheme.
    pub fn url(&self, scheme: &str) -> url::Url {
        format!("{scheme}://{}", self.address).parse().expect("a URL")
    }

    pub fn greet(&self, greeting: Greeting) {
        lock(&self.shared).greeting = greeting;
    }

    pub fn expect_protocol(&self, protocol: u64) {
        lock(&self.shared).protocol = protocol;
    }

    /// From now on pings stay without an answer.
    pub fn ignore_pings(&self) {
        lock(&self.shared).answers_pings = false;
    }

    /// From now on nothing is answered.
    pub fn mute(&self) {
        lock(&self.shared).muted = true;
    }

    pub fn handle(&self, handler: impl Fn(&str, &Value) -> Act + Send + Sync + 'static) {
        lock(&self.shared).handler = Arc::new(handler);
    }

    /// The calls after the handshakes, in the order in which they came.
    pub fn calls(&self) -> Vec<(String, Value)> {
        lock(&self.shared).calls.clone()
    }

    /// How many connections there have been, and how many are open.
    pub fn connections(&self) -> (usize, usize) {
        let shared = lock(&self.shared);
        (shared.connections, shared.open)
    }

    pub fn pings(&self) -> usize {
        lock(&self.shared).pings
    }
}

impl Drop for GatewayServer {
    fn drop(&mut self) {
        self.accepting.abort();
        for task in &lock(&self.shared).serving {
            task.abort();
        }
    }
}

/// Counts a connection while it is open.
struct Open(Arc<Mutex<Shared>>);

impl Open {
    fn new(shared: Arc<Mutex<Shared>>) -> Self {
        {
            let mut shared = lock(&shared);
            shared.connections += 1;
            shared.open += 1;
        }
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.0).open -= 1;
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An unmasked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length @ 126..0x1_0000 => {
            bytes.push(126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

async fn serve(mut stream: TcpStream, shared: &Arc<Mutex<Shared>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let greeting = lock(shared).greeting.clone();
    if let Greeting::Http(answer) = greeting {
        stream.write_all(answer.as_bytes()).await?;
        return stream.shutdown().await;
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let guid = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap_or_default());
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, guid.as_bytes()));
    let agreed = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(agreed.as_bytes()).await?;
    match greeting {
        // Until the client has enough.
        Greeting::Silent => return stream.read_to_end(&mut Vec::new()).await.map(drop),
        Greeting::Text(text) => stream.write_all(&frame(TEXT, text.as_bytes())).await?,
        _ => {
            let challenge = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n"}});
            stream.write_all(&frame(TEXT, challenge.to_string().as_bytes())).await?;
        }
    }
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Writer::new(writer));
    let mut greeted = false;
    loop {
        let (opcode, payload) = read_frame(&mut reader).await?;
        match opcode {
            0x1 => {}
            0x8 => return Ok(()),
            0x9 => {
                let answer = {
                    let mut shared = lock(shared);
                    shared.pings += 1;
                    shared.answers_pings
                };
                if answer {
                    writer.lock().await.write_all(&frame(PONG, &payload)).await?;
                }
                continue;
            }
            _ => continue,
        }
        let request: Value = serde_json::from_slice(&payload).expect("the client sends JSON");
        assert_eq!(request["type"], "req");
        let id = request["id"].as_str().expect("an id").to_owned();
        let method = request["method"].as_str().expect("a method").to_owned();
        let params = &request["params"];
        let act = if greeted { call(shared, &method, params) } else { connect(shared, &method, params) };
        if !greeted && let Act::Refuse(error) = &act {
            let code = match error["details"]["code"].as_str() {
                Some("PROTOCOL_MISMATCH") => 1002,
                Some(_) => 1008,
                None => 1013,
            };
            let mut writer = writer.lock().await;
            writer.write_all(&answer(&id, &act)).await?;
            return writer.write_all(&close(code, "unauthorized: no")).await;
        }
        greeted = true;
        if lock(shared).muted {
            continue;
        }
        let Act::After(pause, act) = act else {
            perform(&writer, &id, act).await?;
            continue;
        };
        let writer = Arc::clone(&writer);
        let task = tokio::spawn(async move {
            sleep(pause).await;
            let _ = perform(&writer, &id, *act).await;
        });
        lock(shared).serving.push(task);
    }
}

fn connect(shared: &Mutex<Shared>, method: &str, params: &Value) -> Act {
    let shared = lock(shared);
    let refuse = |code: &str, message: &str, details: Value| {
        Act::Refuse(json!({"code": code, "message": message, "details": details}))
    };
    assert_eq!(method, "connect");
    assert_eq!(params["client"]["id"], "gateway-client");
    assert_eq!(params["client"]["mode"], "backend");
    assert_eq!(params["role"], "operator");
    assert_eq!(params["scopes"], json!(["operator.read", "operator.write"]));
    if shared.greeting == Greeting::Starting {
        return refuse("UNAVAILABLE", "gateway starting; retry shortly", json!({"reason": "startup-sidecars"}));
    }
    if params["minProtocol"] != shared.protocol || params["maxProtocol"] != shared.protocol {
        let details = json!({"code": "PROTOCOL_MISMATCH", "expectedProtocol": shared.protocol});
        return refuse("INVALID_REQUEST", "protocol mismatch", details);
    }
    if params["auth"]["token"] != shared.token.as_str() {
        // Some programs repeat what they were given.
        let message = format!("unauthorized: gateway token mismatch: {}", params["auth"]["token"]);
        return refuse("INVALID_REQUEST", &message, json!({"code": "AUTH_TOKEN_MISMATCH"}));
    }
    Act::Answer(json!({"type": "hello-ok", "protocol": 4, "server": {"version": "2026.9.6"}}))
}

fn call(shared: &Mutex<Shared>, method: &str, params: &Value) -> Act {
    let handler = {
        let mut shared = lock(shared);
        shared.calls.push((method.to_owned(), params.clone()));
        Arc::clone(&shared.handler)
    };
    handler(method, params)
}

async fn perform(writer: &Writer<OwnedWriteHalf>, id: &str, act: Act) -> io::Result<()> {
    let mut writer = writer.lock().await;
    // Events come in between, as on the real one.
    let tick = json!({"type": "event", "event": "tick", "payload": {"ts": 1, "id": id}}).to_string();
    writer.write_all(&frame(TEXT, tick.as_bytes())).await?;
    match act {
        Act::Ignore | Act::After(..) => Ok(()),
        Act::Close(code, reason) => writer.write_all(&close(code, reason)).await,
        Act::Cut => writer.shutdown().await,
        Act::Raw(bytes) => writer.write_all(&bytes).await,
        act => writer.write_all(&answer(id, &act)).await,
    }
}

fn answer(id: &str, act: &Act) -> Vec<u8> {
    let answer = match act {
        Act::Refuse(error) => json!({"type": "res", "id": id, "ok": false, "error": error}),
        Act::Answer(payload) => json!({"type": "res", "id": id, "ok": true, "payload": payload}),
        _ => unreachable!("not an answer"),
    };
    frame(TEXT, answer.to_string().as_bytes())
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A frame of the client: its opcode and its payload, which has to be masked.
async fn read_frame(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = reader.read_u8().await?;
    let second = reader.read_u8().await?;
    assert_ne!(second & 0x80, 0, "a client masks its frames");
    let length = match second & 0x7f {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        length => u64::from(length),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).expect("it fits")];
    reader.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first & 0x0f, payload))
}
