//! Who is let in, what is refused and how, and the files by which the server is found.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Job, Response, Signal};

fn job() -> Job {
    Job::new([("board", json!(1))]).with_control()
}

#[track_caller]
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem = response.json();
    assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)));
    assert!(
        problem["title"].is_string() && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
        "{problem}"
    );
}

fn with(client: &Client, name: &str, value: &str) -> Vec<(String, String)> {
    let mut headers = client.usual();
    headers.retain(|(header, _)| header != name);
    headers.push((name.to_owned(), value.to_owned()));
    headers
}

#[test]
fn nothing_but_health_and_the_empty_page_is_answered_without_the_token() {
    let job = job();
    let daemon = job.start();
    let client = Client::of(&job.setup);
    let document = client.json("/v1/openapi.json");
    let stranger = [("Host".to_owned(), client.address.to_string())];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let response = client.send(&method.to_uppercase(), path, &stranger, b"{}");
            if ["/", "/healthz", "/readyz"].contains(&path.as_str()) {
                assert_eq!(response.status, 200, "{method} {path}");
            } else {
                assert_problem(&response, 401);
                assert!(response.header("www-authenticate").unwrap().starts_with("Bearer"));
            }
            assert!(!response.text().contains("board"), "{method} {path} tells a stranger what is watched");
        }
    }
    for wrong in ["Bearer wrong", "Basic Zm9v", "", &format!("Bearer {}x", client.token)] {
        assert_problem(&client.send("GET", "/v1/status", &with(&client, "Authorization", wrong), b""), 401);
    }
    assert_problem(&client.send("GET", "/v1/nothing", &stranger, b""), 401);
    assert_eq!(daemon.count_log(&client.token), 0, "the token is not logged");
}

#[test]
fn a_request_for_another_host_is_misdirected_whatever_token_it_has() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let port = client.address.port();
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost", "127.0.0.1:1", ""] {
        for path in ["/v1/status", "/", "/healthz"] {
            assert_problem(&client.send("GET", path, &with(&client, "Host", host), b""), 421);
        }
    }
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(client.send("GET", "/v1/status", &with(&client, "Host", &host), b"").status, 200, "{host}");
    }
    let mut twice = client.usual();
    twice.push(("Host".to_owned(), client.address.to_string()));
    assert!([400, 421].contains(&client.send("GET", "/v1/status", &twice, b"").status));
    assert_problem(&client.send("GET", "http://evil.example/v1/status", &client.usual(), b""), 421);
}

#[test]
fn errors_of_every_kind_are_problems_and_every_answer_is_protected() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    assert_problem(&client.get("/v1/nothing"), 404);
    let wrong_method = client.post("/v1/status", "");
    assert_problem(&wrong_method, 405);
    assert_eq!(wrong_method.header("allow"), Some("GET"));
    assert_problem(&client.get("/v1/flush"), 405);
    assert_problem(&client.post("/v1/flush", "{\"whenAvailable\":1}"), 400);
    assert_problem(&client.post("/v1/flush", "nonsense"), 400);
    assert_problem(&client.post("/v1/flush", &" ".repeat(100_000)), 413);
    assert_problem(&client.get("/v1/deliveries?limit=0"), 400);
    let mut from_elsewhere = client.usual();
    from_elsewhere.push(("Origin".to_owned(), "http://evil.example".to_owned()));
    for response in [
        client.get("/"),
        client.get("/v1/status"),
        client.get("/v1/nothing"),
        client.send("GET", "/v1/status", &from_elsewhere, b""),
        client.send("OPTIONS", "/v1/status", &from_elsewhere, b""),
    ] {
        for (header, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(response.header(header), Some(value), "{response:?}");
        }
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

#[test]
fn every_call_of_the_description_exists_and_refuses_other_methods() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let document = client.json("/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for expected in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/status",
        "/v1/projections",
        "/v1/pending",
        "/v1/deliveries",
        "/v1/flush",
        "/v1/poll",
        "/v1/pause",
        "/v1/resume",
        "/v1/reload",
        "/v1/events",
        "/v1/hooks/ograph",
    ] {
        assert!(paths.contains_key(expected), "{expected}");
    }
    for (path, methods) in paths {
        let allowed: Vec<_> = methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in ["GET", "POST", "PUT", "DELETE"].into_iter().filter(|it| !allowed.contains(&(*it).to_owned())) {
            let response = client.send(method, path, &client.usual(), b"{}");
            assert_problem(&response, 405);
            assert_eq!(response.header("allow"), Some(allowed.join(", ").as_str()), "{path}");
        }
    }
}

#[test]
fn answers_have_the_members_that_the_description_promises() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let document = client.json("/v1/openapi.json");
    for path in ["/healthz", "/readyz", "/v1/status", "/v1/projections", "/v1/pending", "/v1/deliveries"] {
        let operation = &document["paths"][path]["get"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        conforms(&document, schema, &client.json(path), path);
    }
}

/// A small part of JSON Schema: references, types, required and known members.
#[track_caller]
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        return conforms(document, target, value, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        if !value.is_null() {
            let choice = choices.iter().find(|choice| choice["type"] != "null").expect("something else than null");
            conforms(document, choice, value, at);
        }
        return;
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => return,
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&actual), "{at} is {value}, not {types:?}");
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(required.as_str().expect("a name")), "{at} lacks {required}");
        }
        for (name, member) in members {
            let described = known.get(name).unwrap_or_else(|| panic!("{at}.{name} is not described"));
            conforms(document, described, member, &format!("{at}.{name}"));
        }
    }
    for element in value.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], element, &format!("{at}[]"));
    }
}

#[test]
fn the_server_is_found_by_its_file_which_goes_at_a_clean_stop_while_the_token_stays() {
    let job = job();
    let daemon = job.start();
    let (control, token) = (job.setup.state_dir().join("control.json"), job.setup.state_dir().join("control.token"));
    let first = Client::of(&job.setup);
    assert_eq!(first.get("/v1/status").status, 200);
    for file in [&control, &token] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let contact: Value = serde_json::from_slice(&fs::read(&control).unwrap()).unwrap();
    assert!(Path::new("/proc").join(contact["pid"].to_string()).exists());
    daemon.wait_for_log(&format!("control at http://{}", first.address), DEADLINE);
    daemon.terminate();
    assert!(!control.exists(), "it would lead nowhere");
    let _daemon = job.start();
    assert_eq!(Client::of(&job.setup).token, first.token);
}

#[test]
fn a_configured_token_is_the_one_in_force() {
    let mut job = job();
    job.setup.config["control"]["token"] = json!("chosen by hand");
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    assert_eq!(client.token, "chosen by hand");
    assert_eq!(client.get("/v1/status").status, 200);
    assert!(!job.setup.state_dir().join("control.token").exists());
}

#[test]
fn an_address_in_use_is_said_with_key_and_remedy_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut job = job();
    job.setup.config["control"]["listen"] = json!(taken.local_addr().unwrap().to_string());
    let mut daemon = job.setup.start();
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(1));
    let line = daemon.wait_for_log("cannot listen", DEADLINE);
    for part in ["control.listen", "OGRAPH_CONTROL_LISTEN", "port 0"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(job.ograph.requests().len(), 0, "half a daemon has not begun to work");
    assert!(!job.setup.state_dir().join("control.json").exists());
}

#[test]
fn a_stop_ends_streams_and_answers_nobody_by_half() {
    let job = job();
    let mut daemon = job.start();
    let client = Client::of(&job.setup);
    let mut events = client.listen(None);
    events.wait_for("hello");
    daemon.signal(Signal::TERM);
    while events.next().is_some() {}
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(0));
}
