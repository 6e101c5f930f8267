//! What the tests of the receivers share: documents, scripts, and waiting for a condition.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::model::{
    document::{AvailabilityNote, Document, Envelope, MergedChange, Reason},
    key::ProjectionKey,
    time::Timestamp,
    value::Snapshot,
};

/// A document in which projections of these names appeared with these values.
pub(super) fn document_of(changes: &[(&str, Value)]) -> Document {
    let envelope = Envelope {
        batch_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        created_at: Timestamp::EPOCH,
        reason: Reason::Available,
        availability: AvailabilityNote { available: Some(3), min_available: 2 },
    };
    let changes: Vec<_> = changes
        .iter()
        .map(|(key, value)| {
            let change = MergedChange {
                from: None,
                to: Some(Snapshot::new(value.clone(), &[])),
                merged: 1,
                first_changed_at: Timestamp::EPOCH,
                last_changed_at: Timestamp::EPOCH,
            };
            (ProjectionKey::new(*key), change)
        })
        .collect();
    Document::new(&envelope, changes.iter().map(|(key, change)| (key, change)), |key| {
        (key.as_str().to_owned(), [].into())
    })
}

/// A document in which one projection appeared.
pub(super) fn document() -> Document {
    document_of(&[("tasks", Value::from(1))])
}

/// A document of a little more than `bytes`.
pub(super) fn big_document(bytes: usize) -> Document {
    document_of(&[("tasks", Value::from("x".repeat(bytes / 2)))])
}

/// Writes an executable file. A process of its own does it: one that another thread happens to start just now would
/// inherit our open file, and a file open for writing cannot be executed.
pub(super) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (source, path) = (folder.join(format!("{name}.source")), folder.join(name));
    std::fs::write(&source, text).expect("the source is written");
    let status = std::process::Command::new("install").args(["-m", "755"]).args([&source, &path]).status();
    assert!(status.expect("install runs").success());
    path
}

/// `sh -c SCRIPT`, whose `$1` and so on are `arguments`.
pub(super) fn sh(script: &str, arguments: &[&Path]) -> Vec<OsString> {
    let mut argv: Vec<OsString> = ["sh", "-c", script, "sh"].map(Into::into).into();
    argv.extend(arguments.iter().map(|argument| argument.as_os_str().to_owned()));
    argv
}

/// Waits until `condition` gives something, 20 s at most.
pub(super) async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..4000 {
        if let Some(found) = condition() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

/// The number that a script wrote to `path`, once it is there.
pub(super) async fn number_in(path: &Path) -> i32 {
    until(&format!("{} is written", path.display()), || {
        let text = std::fs::read_to_string(path).ok()?;
        text.ends_with('\n').then(|| text.trim().parse().ok())?
    })
    .await
}

/// Waits until no process has this id, not even a zombie: for children of ours.
pub(super) async fn gone(pid: i32) {
    until(&format!("process {pid} is gone"), || is_gone(pid).then_some(())).await;
}

/// Waits until no process with this id runs. A zombie may stay: orphans are waited for by whoever inherits them.
pub(super) async fn dead(pid: i32) {
    let is_zombie = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    };
    until(&format!("process {pid} is dead"), || (is_gone(pid) || is_zombie()).then_some(())).await;
}

fn is_gone(pid: i32) -> bool {
    rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).expect("a pid")).is_err()
}

/// What a stand-in for a web server does once it has read a request.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// Writes these bytes and closes the connection.
    Raw(&'static str),
    /// Closes the connection.
    Close,
    /// Waits until the client closes it.
    Hang,
}

/// A request as it was read: its head in lower case, and its body.
pub(super) type Received = (String, Vec<u8>);

/// Serves one request per reply, each on a connection of its own, and gives them back.
pub(super) fn serve(replies: Vec<Reply>) -> (Url, JoinHandle<Vec<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let answer = |reply| {
            let (mut stream, _) = listener.accept().expect("accepted");
            let request = read_request(&mut stream);
            match reply {
                Reply::Raw(bytes) => stream.write_all(bytes.as_bytes()).expect("written"),
                Reply::Close => {}
                Reply::Hang => drop(stream.read(&mut [0])),
            }
            request
        };
        replies.into_iter().map(answer).collect()
    });
    (format!("http://{address}/hook?key=hidden").parse().expect("a URL"), server)
}

fn read_request(stream: &mut TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("readable"), 0, "the request is cut: {head}");
    }
    head.make_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).expect("a whole body");
    (head, body)
}
