//! A client of the control server: raw HTTP/1.1, so that what is sent can be as wrong as the world's.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::{DEADLINE, Setup, wait_for};

/// Talks to one control server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In the order in which they were sent; the names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// The client of the daemon that was started from `setup`, as soon as it says where it is.
    #[track_caller]
    pub(crate) fn of(setup: &Setup) -> Self {
        let path = setup.state_dir().join("control.json");
        let contact = wait_for(DEADLINE, "control.json appears", || {
            fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        });
        let url = contact["url"].as_str().expect("a URL").strip_prefix("http://").expect("plain HTTP");
        let token = contact["token"].as_str().expect("a token").to_owned();
        Self { address: url.parse().expect("an address"), token }
    }

    /// `Host` and `Authorization` as they should be.
    pub(crate) fn usual(&self) -> Vec<(String, String)> {
        vec![
            ("Host".to_owned(), self.address.to_string()),
            ("Authorization".to_owned(), format!("Bearer {}", self.token)),
        ]
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send("GET", path, &self.usual(), b"")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        self.send("POST", path, &self.usual(), body.as_bytes())
    }

    /// The JSON of a call that must succeed.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {response:?}");
        response.json()
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Response {
        let mut stream = self.open(method, path, headers, body);
        read_response(&mut stream)
    }

    /// Sends a request and leaves the answer unread.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).expect("the control server accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        // A server that refuses may close before it has read everything.
        let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        BufReader::new(stream)
    }

    /// Listens to the events.
    pub(crate) fn listen(&self, last_event_id: Option<&str>) -> Events {
        let mut headers = self.usual();
        headers.extend(last_event_id.map(|id| ("Last-Event-ID".to_owned(), id.to_owned())));
        let mut stream = self.open("GET", "/v1/events", &headers, b"");
        let (status, _) = read_head(&mut stream);
        assert_eq!(status, 200, "the stream of events begins");
        Events { stream }
    }
}

impl Response {
    /// The first header with this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads an answer to its end: the length that it says, or the end of the connection.
pub(crate) fn read_response(stream: &mut BufReader<TcpStream>) -> Response {
    let (status, headers) = read_head(stream);
    let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, length)| length);
    let mut body = Vec::new();
    match length.map(|length| length.parse::<u64>().expect("a length")) {
        Some(length) => stream.take(length).read_to_end(&mut body),
        None => stream.read_to_end(&mut body),
    }
    .expect("a body");
    Response { status, headers, body }
}

/// Server-sent events as they arrive.
pub(crate) struct Events {
    stream: BufReader<TcpStream>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).expect("the stream goes on or ends") == 0 {
                return None;
            }
            // The sizes of chunks stand between the lines, and are none of these.
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => {
                    event.data = serde_json::from_str(data).expect("JSON");
                    return Some(event);
                }
                _ => {}
            }
        }
    }

    /// The next event with this name.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before `{name}`"));
            if event.name == name {
                return event;
            }
        }
    }

    /// Reads nothing for so long at most.
    pub(crate) fn patience(&self, time: Duration) {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a timeout");
    }
}
