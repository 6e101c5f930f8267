//! The commands against the real daemon.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    support::{DEADLINE, Daemon, Job, wait_until},
    user::Run,
};

/// A job whose daemon can be controlled.
fn job() -> Job {
    let mut job = Job::new([("board", json!({"state": "todo"}))]);
    job.setup.config["control"] = json!({"listen": "127.0.0.1:0"});
    job
}

/// Starts the daemon and waits until it can be asked.
fn start(job: &Job) -> Daemon {
    let daemon = job.start();
    wait_until(DEADLINE, "control.json", || job.setup.state_dir().join("control.json").exists());
    daemon
}

fn run(job: &Job, line: &str) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_ograph-dispatcher"))
        .args(line.split(' '))
        .env_clear()
        .env("HOME", job.setup.path(""))
        .env("PATH", "/usr/bin:/bin")
        .env("OGRAPH_CONFIG_FILE", job.setup.path("dispatcher.json"))
        .output()
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[track_caller]
fn done(job: &Job, line: &str) -> String {
    let run = run(job, line);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{line}: {run:?}");
    run.out
}

#[track_caller]
fn json_of(job: &Job, line: &str) -> Value {
    serde_json::from_str(&done(job, line)).expect("JSON")
}

#[test]
fn a_change_is_followed_from_waiting_to_delivered() {
    let job = job();
    job.openclaw.set_available(1);
    let daemon = start(&job);
    assert!(done(&job, "pending").starts_with("nothing is pending"));
    assert!(done(&job, "projections").contains("board"));
    job.change("board", &json!({"state": "done"}));

    wait_until(DEADLINE, "the change is pending", || run(&job, "pending").out.contains("board"));
    let pending = done(&job, "pending");
    assert!(pending.contains(r#"{"state":"todo"} → {"state":"done"}"#), "{pending}");
    wait_until(DEADLINE, "it waits", || run(&job, "status").out.contains("waiting: "));
    let status = done(&job, "status");
    assert!(status.contains("1 free slot, 2 needed"), "{status}");
    assert_eq!(json_of(&job, "status --json")["scheduler"]["state"], "waiting");

    let refused = run(&job, "flush --when-available");
    assert!(refused.code == 4 && refused.err.contains("1 of 2"), "{refused:?}");
    assert_eq!(run(&job, "flush --when-available --json").json()["status"], 409);
    let flushed = done(&job, "flush");
    assert!(flushed.contains("delivered") && flushed.contains("1 of 1 receiver told"), "{flushed}");
    assert_eq!(job.documents()[0]["reason"], "flush");
    assert_eq!(done(&job, "flush"), "nothing was pending\n");
    let deliveries = done(&job, "deliveries --limit 5");
    assert!(deliveries.lines().count() == 2 && deliveries.contains("flush"), "{deliveries}");
    assert_eq!(json_of(&job, "deliveries --json")["deliveries"][0]["outcome"], "delivered");
    daemon.terminate();
    let gone = run(&job, "status");
    assert!(gone.code == 3 && gone.err.contains("control.json does not exist"), "{gone:?}");
}

#[test]
fn orders_are_carried_out() {
    let job = job();
    let _daemon = start(&job);
    done(&job, "poll");
    done(&job, "pause");
    assert!(done(&job, "status").contains("paused"));
    job.change("board", &json!(2));
    done(&job, "resume");
    job.wait_for_documents(1);

    assert!(done(&job, "reload").starts_with("reloaded"));
    std::fs::write(job.setup.path("dispatcher.json"), job.setup.config.to_string().replace("2000", "0"))
        .expect("a file");
    let refused = run(&job, "reload");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("ograph.timeout"), "{refused:?}");
    assert_eq!(run(&job, "doctor").code, 1);
}

#[test]
fn a_healthy_daemon_leaves_the_doctor_nothing_to_complain_about() {
    let job = job();
    let _daemon = start(&job);
    let report = run(&job, "doctor --json").json();
    assert_eq!(report["ok"], true, "{report:#}");
    let text = report.to_string();
    assert!(text.contains("runs at http://127.0.0.1:") && text.contains("in use by the running daemon"), "{report:#}");
    assert_eq!(job.attempts().len(), 0);
}

#[test]
fn a_daemon_that_was_killed_is_not_reachable() {
    let job = job();
    let daemon = start(&job);
    let address = done(&job, "open --print");
    assert!(address.starts_with("http://127.0.0.1:") && address.contains("/#token="), "{address}");
    daemon.kill();
    let gone = run(&job, "status");
    assert!(gone.code == 3 && gone.err.contains("was left behind by process"), "{gone:?}");
}

#[test]
fn another_token_is_refused_with_4() {
    let job = job();
    let _daemon = start(&job);
    let contact = std::fs::read_to_string(job.setup.state_dir().join("control.json")).expect("the file");
    let mut contact: Value = serde_json::from_str(&contact).expect("JSON");
    contact["token"] = json!("not-the-token");
    std::fs::write(job.setup.state_dir().join("control.json"), contact.to_string()).expect("a file");
    let refused = run(&job, "status");
    assert!(refused.code == 4 && !refused.err.contains("not-the-token"), "{refused:?}");
}
