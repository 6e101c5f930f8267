//! `state`: what a dispatcher left behind, looked at while it is down.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::{Job, OGraph, OpenClaw};

fn state(action: &str, dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ograph-dispatcher"))
        .args(["state", action, "--dir"])
        .arg(dir)
        .env_clear()
        .output()
        .expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_store_is_checked_printed_and_compacted_while_nobody_uses_it_and_refused_while_somebody_does() {
    let job = Job::new([("board", json!({"n": 1}))]);
    let dir = job.setup.state_dir();
    let daemon = job.start();
    job.openclaw.set_available(0);
    job.change("board", &json!({"n": 2}));
    for action in ["check", "dump", "compact"] {
        let refused = state(action, &dir);
        assert_eq!(refused.status.code(), Some(4), "{action}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("in use by another"), "{}", text(&refused.stderr));
    }
    daemon.kill();

    let before = fs::read(dir.join("state.redb")).expect("a store");
    let check = state("check", &dir);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let said = text(&check.stdout);
    assert!(
        said.contains("sound, format 1") && said.contains("2 projections") && said.contains(": 1 pending"),
        "{said}"
    );
    let dump = state("dump", &dir);
    assert_eq!(dump.status.code(), Some(0), "{}", text(&dump.stderr));
    let lines: Vec<Value> = text(&dump.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of_kind("store"), [&json!({"kind": "store", "format": 1, "paused": false})]);
    let values: Vec<_> = of_kind("observed").iter().map(|line| (&line["projection"], &line["value"])).collect();
    assert!(values.contains(&(&json!("board"), &json!({"n": 2}))), "{values:?}");
    assert_eq!(of_kind("pending").len(), 1);
    assert_eq!(of_kind("pending")[0]["entry"]["change"]["to"]["value"], json!({"n": 2}));
    for secret in [OGraph::TOKEN, OpenClaw::TOKEN, OpenClaw::SECRET] {
        assert!(!text(&dump.stdout).contains(secret));
    }
    assert_eq!(fs::read(dir.join("state.redb")).expect("a store"), before, "nothing was written");

    let compact = state("compact", &dir);
    assert_eq!(compact.status.code(), Some(0), "{}", text(&compact.stderr));
    assert_eq!(text(&state("dump", &dir).stdout), text(&dump.stdout), "compacting changes no content");
    job.openclaw.set_available(9);
    let _daemon = job.setup.start();
    job.wait_for_documents(1);
}

#[test]
fn a_damaged_or_missing_store_is_said_and_left_as_it_is() {
    let job = Job::new([("board", json!(1))]);
    let dir = job.setup.state_dir();
    for action in ["check", "dump", "compact"] {
        let missing = state(action, &dir);
        assert_eq!(missing.status.code(), Some(1));
        assert!(text(&missing.stderr).contains("state.redb: No such file"), "{}", text(&missing.stderr));
        assert!(!dir.exists(), "{action} makes nothing");
    }
    fs::create_dir(&dir).expect("a folder");
    fs::write(dir.join("state.redb"), "this is no store").expect("a file");
    for action in ["check", "dump", "compact"] {
        let damaged = state(action, &dir);
        assert_eq!(damaged.status.code(), Some(1));
        let said = text(&damaged.stderr);
        assert!(said.contains("damaged") && said.contains(&*dir.to_string_lossy()), "{said}");
        assert_eq!(fs::read(dir.join("state.redb")).expect("a file"), b"this is no store");
    }
}
