//! The support of the end-to-end tests does what they rely on: each piece can fail on its own.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    Answer, DEADLINE, Job, OGraph, OpenClaw, Reply, Setup, Signal, StubCli, TestServer, documents_in, now, wait_until,
};

/// Sends a request on a connection of its own and returns everything that comes back, and how the connection ended.
fn ask(url: &str, request: &str) -> (String, std::io::Result<()>) {
    let mut stream = send(url, request);
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).map(drop);
    (String::from_utf8_lossy(&answer).into_owned(), end)
}

fn send(url: &str, request: &str) -> TcpStream {
    let address = url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("a server that reads");
    stream
}

/// Sends a request and closes this side, so that the server closes the connection after its answer.
fn ask_once(url: &str, request: &str) -> Vec<u8> {
    let mut stream = send(url, request);
    stream.shutdown(Shutdown::Write).expect("an open connection");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

fn get(url: &str, target: &str, headers: &str) -> String {
    let answer = ask_once(url, &format!("GET {target} HTTP/1.1\r\nhost: test\r\n{headers}\r\n"));
    String::from_utf8(answer).expect("text")
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

fn server(reply: impl Into<Reply>) -> TestServer {
    let reply = reply.into();
    TestServer::start(move |_| reply.clone())
}

const ASK: &str = "GET /x HTTP/1.1\r\nhost: test\r\n\r\n";

#[test]
fn waiting_in_vain_fails_with_the_reason() {
    let failed = std::panic::catch_unwind(|| wait_until(Duration::from_millis(20), "pigs fly", || false));
    let message = *failed.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "waited 20ms in vain: pigs fly");
    let mut looks = 0;
    wait_until(DEADLINE, "the third look", || {
        looks += 1;
        looks == 3
    });
}

#[test]
fn the_server_logs_requests_on_one_connection_and_decodes_their_bodies() {
    let server = TestServer::start(|request| Answer::text(200, "text/plain", request.body.clone()).into());
    let answers = ask_once(
        &server.url(),
        "POST /a?b=1 HTTP/1.1\r\nX-Name: Value\r\ncontent-length: 3\r\n\r\nabc\
         PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n2\r\ngh\r\n0\r\n\r\n",
    );
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.contains("\r\n\r\nabc") && answers.ends_with("\r\n\r\ndefgh"), "{answers}");
    let requests = server.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str(), requests[0].path()),
        ("POST", "/a?b=1", "/a")
    );
    assert_eq!(requests[0].header("x-name"), Some("Value"));
    assert_eq!((requests[1].body.as_slice(), server.count("/c")), (&b"defgh"[..], 1));
}

#[test]
fn answers_can_be_broken_in_every_way() {
    let answer = Answer::text(200, "text/plain", "0123456789");

    let (text, end) = ask(&server(Reply::Raw(b"garbage".to_vec())).url(), ASK);
    assert_eq!((text.as_str(), end.is_ok()), ("garbage", true));

    let (text, end) = ask(&server(Reply::Truncated(answer.clone())).url(), ASK);
    assert!(text.contains("content-length: 10\r\n") && text.ends_with("\r\n\r\n01234") && end.is_ok(), "{text}");

    let (text, end) = ask(&server(Reply::Reset).url(), ASK);
    assert_eq!((text.as_str(), end.unwrap_err().kind()), ("", std::io::ErrorKind::ConnectionReset));

    let start = now();
    let drip = server(Reply::Drip(answer.clone(), Duration::from_millis(1)));
    let (text, end) = ask(&drip.url(), ASK);
    assert!(text.ends_with("0123456789") && end.is_ok() && start.elapsed() > Duration::from_millis(50), "{text}");

    let start = now();
    let late = server(Reply::Late(Duration::from_millis(50), Box::new(Reply::Raw(b"late".to_vec()))));
    assert_eq!(ask(&late.url(), ASK).0, "late");
    assert!(start.elapsed() >= Duration::from_millis(50));

    let endless = server(Reply::Endless(answer));
    let mut stream = send(&endless.url(), ASK);
    let mut much = vec![0; 1024 * 1024];
    stream.read_exact(&mut much).unwrap();
    assert!(String::from_utf8_lossy(&much).contains("a\r\n0123456789\r\na\r\n0123456789"));
}

#[test]
fn a_request_that_arrives_while_the_same_one_is_unanswered_overlaps() {
    let server = TestServer::start(|request| match request.path() {
        "/hang" => Reply::Hang,
        _ => Answer::empty(204).into(),
    });
    let first = send(&server.url(), "GET /hang HTTP/1.1\r\n\r\n");
    wait_until(DEADLINE, "the first request arrives", || server.unanswered("/hang") == 1);
    get(&server.url(), "/other", "");
    let second = send(&server.url(), "GET /hang HTTP/1.1\r\n\r\n");
    wait_until(DEADLINE, "the second request arrives", || server.unanswered("/hang") == 2);
    drop((first, second));
    wait_until(DEADLINE, "it is noticed that the clients are gone", || server.unanswered("/hang") == 0);
    let _third = send(&server.url(), "GET /hang HTTP/1.1\r\n\r\n");
    wait_until(DEADLINE, "the third request arrives", || server.count("/hang") == 3);
    let overlapping: Vec<_> = server.requests().iter().map(|r| (r.target.clone(), r.overlapping)).collect();
    let expected = [("/hang", 0), ("/other", 0), ("/hang", 1), ("/hang", 0)];
    assert_eq!(overlapping, expected.map(|(target, count)| (target.to_owned(), count)));
}

#[test]
fn a_server_that_is_dropped_closes_its_port_and_its_connections() {
    let server = server(Reply::Hang);
    let url = server.url();
    let mut waiting = send(&url, ASK);
    wait_until(DEADLINE, "the request arrives", || server.unanswered("/x") == 1);
    drop(server);
    assert_eq!(waiting.read(&mut [0; 1]).unwrap_or(0), 0);
    // Not at once, if another test is just starting a process: until that runs its program it holds a copy.
    let address = url.strip_prefix("http://").unwrap();
    wait_until(DEADLINE, "connections are refused", || TcpStream::connect(address).is_err());
}

#[test]
fn ograph_answers_values_tags_faults_and_nothing_without_the_token() {
    let ograph = OGraph::start();
    let token = format!("authorization: Bearer {}\r\n", OGraph::TOKEN);
    let target = "/projections/task?task_id=7";
    assert!(get(&ograph.url(), target, "").starts_with("HTTP/1.1 401 "));
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 404 "));
    ograph.set_text("task?task_id=7", r#"{ "big": 123456789012345678901234567890 }"#);
    let answer = get(&ograph.url(), target, &token);
    assert!(answer.contains(r#""value":{ "big": 123456789012345678901234567890 }"#), "{answer}");
    assert_eq!(body(&answer)["params"], json!({"task_id": "7"}));
    let tag = answer.split_once("etag: ").unwrap().1.split_once("\r\n").unwrap().0;
    let known = format!("{token}if-none-match: {tag}\r\n");
    assert!(get(&ograph.url(), target, &known).starts_with("HTTP/1.1 304 "));
    ograph.set("task?task_id=7", &json!(2));
    assert_eq!(body(&get(&ograph.url(), target, &known))["value"], json!(2));

    ograph.fault("task?task_id=7", Reply::from(Answer::html(503).header("retry-after", "1")));
    assert!(get(&ograph.url(), target, &token).contains("retry-after: 1\r\n"));
    ograph.fault("task?task_id=7", None);
    ograph.fault_next(1, "task?task_id=7", Answer::html(500));
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 500 "));
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 200 "));
    ograph.fault_for_all(Reply::from(Answer::html(502)));
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 502 "));
    ograph.fault_for_all(None);
    ograph.remove("task?task_id=7");
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 404 "));
    assert_eq!((ograph.polls("task?task_id=7"), ograph.overlapping().len()), (10, 0));
    ograph.accept_token("another");
    assert!(get(&ograph.url(), target, &token).starts_with("HTTP/1.1 401 "));
    assert!(get(&ograph.url(), "/health", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn ograph_compresses_only_for_those_who_accept_it() {
    let ograph = OGraph::start();
    ograph.set("text", &json!("x".repeat(1000)));
    ograph.use_gzip(true);
    ograph.use_etags(false);
    let token = format!("authorization: Bearer {}\r\n", OGraph::TOKEN);
    let plain = get(&ograph.url(), "/projections/text", &token);
    assert!(!plain.contains("content-encoding") && !plain.contains("etag"), "{plain}");
    let bytes =
        ask_once(&ograph.url(), &format!("GET /projections/text HTTP/1.1\r\n{token}accept-encoding: gzip, br\r\n\r\n"));
    let start = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&bytes[..start]).contains("content-encoding: gzip\r\n"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[start..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["value"], json!("x".repeat(1000)));
}

#[test]
fn openclaw_tells_its_slots_and_records_deliveries_whatever_it_answers() {
    let openclaw = OpenClaw::start();
    let status = openclaw.status_endpoint();
    let (url, path) = status.split_at(status.find("/plugins").unwrap());
    let token = format!("authorization: Bearer {}\r\n", OpenClaw::TOKEN);
    openclaw.set_available(1);
    assert_eq!(body(&get(url, path, &token)), json!({"available": 1}));
    assert!(get(url, path, "").starts_with("HTTP/1.1 401 "));
    openclaw.answer_status_with(Answer::html(200));
    assert!(get(url, path, &token).contains("text/html"));
    assert!(get(url, "/anything", "").contains("text/html"));
    assert_eq!(openclaw.status_polls(), 3);

    openclaw.script_plugin([Answer::json(429, &json!({})).header("retry-after", "2").into(), Reply::Reset]);
    let post = |target: &str, headers: &str| {
        ask(
            url,
            &format!("POST {target} HTTP/1.1\r\nconnection: close\r\n{headers}content-length: 7\r\n\r\n{{\"a\":1}}"),
        )
    };
    let secret = format!("authorization: Bearer {}\r\n", OpenClaw::SECRET);
    let receiver = openclaw.plugin_receiver();
    let plugin = receiver["url"].as_str().unwrap().strip_prefix(url).unwrap();
    let answer = String::from_utf8(ask_once(
        url,
        &format!("POST {plugin} HTTP/1.1\r\n{secret}content-length: 7\r\n\r\n{{\"a\":1}}"),
    ))
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 2\r\n"), "{answer}");
    assert!(post(plugin, &secret).1.is_err());
    assert_eq!(openclaw.plugin_deliveries().len(), 2);
    assert_eq!(openclaw.plugin_deliveries()[1].json(), json!({"a": 1}));
    assert_eq!(openclaw.webhook_deliveries().len(), 0);
}

#[test]
fn the_stub_cli_keeps_its_arguments_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let stub = StubCli::new(&folder.path().join("bin"));
    assert_eq!(stub.calls(), [] as [Vec<String>; 0]);
    let arguments = ["message", "send", "--message", "two\nlines, \"quotes\" and $HOME", "", "-x"];
    assert!(Command::new(stub.path()).args(arguments).status().unwrap().success());
    stub.behave("echo noise >&2; exit 3");
    let output = Command::new(stub.path()).env_clear().output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(3), &b"noise\n"[..]));
    assert_eq!(stub.calls(), [arguments.map(str::to_owned).to_vec(), Vec::new()]);
}

/// A setup whose program is a shell script instead of the daemon.
fn script(commands: &str) -> Setup {
    let mut setup = Setup::new(json!({"x": 1}));
    setup.program = "/bin/sh".into();
    setup.args = vec!["-c".to_owned(), commands.to_owned()];
    setup
}

#[test]
fn a_daemon_is_started_with_its_own_environment_and_its_log_is_read() {
    let mut setup = script("echo ready; echo \"$OGRAPH_CONFIG_FILE|$HOME|$CARGO_MANIFEST_DIR|$EXTRA\" >&2; exit 7");
    setup.env.push(("EXTRA".to_owned(), "more".to_owned()));
    let mut daemon = setup.start();
    let line = daemon.wait_for_log("|more", DEADLINE);
    let config = setup.path("dispatcher.json");
    let home = config.parent().unwrap();
    assert_eq!(line, format!("{}|{}||more", config.display(), home.display()));
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(7));
    assert!(!daemon.is_running());
    wait_until(DEADLINE, "standard output is read", || daemon.stdout() == ["ready"]);
    assert_eq!((daemon.count_log("|more"), daemon.count_log("no such line")), (1, 0));
    let written: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    assert_eq!(written, json!({"x": 1, "state": {"dir": setup.state_dir()}}));
}

#[test]
fn a_daemon_gets_signals_can_be_killed_and_does_not_outlive_its_handle() {
    let setup = script("trap 'echo caught >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done");
    let mut daemon = setup.start();
    daemon.wait_for_log("ready", DEADLINE);
    assert!(daemon.is_running() && daemon.rss_kib() > 0);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    daemon.wait_for_log("caught", DEADLINE);

    let daemon = setup.start();
    daemon.wait_for_log("ready", DEADLINE);
    daemon.terminate();

    let mut daemon = setup.start();
    daemon.wait_for_log("ready", DEADLINE);
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.wait_exit(DEADLINE).signal(), Some(9));

    let setup = script("echo $$ >&2; exec sleep 600");
    let daemon = setup.start();
    wait_until(DEADLINE, "it says its id", || !daemon.log().is_empty());
    let process = format!("/proc/{}", daemon.log()[0]);
    assert!(Path::new(&process).exists());
    drop(daemon);
    assert!(!Path::new(&process).exists());
}

#[test]
fn a_job_is_configured_for_its_own_servers() {
    let job = Job::new([("task?task_id=7", json!({"status": "todo"}))]);
    let config = &job.setup.config;
    assert_eq!(config["ograph"]["projections"], json!(["marker", "task?task_id=7"]));
    assert_eq!(config["ograph"]["endpoint"], json!(job.ograph.url()));
    assert!(job.setup.state_dir().starts_with(job.setup.path("")));
    assert_eq!(job.documents(), [] as [Value; 0]);
}

#[test]
fn documents_appended_to_a_file_are_read_as_far_as_they_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("documents");
    assert_eq!(documents_in(&file), [] as [Value; 0]);
    fs::write(&file, "{\"a\":1}\n{\"b\":\n2}{\"c\":").unwrap();
    assert_eq!(documents_in(&file), [json!({"a": 1}), json!({"b": 2})]);
}
