//! Receivers that misbehave, each beside a healthy one and over a restart: the healthy one is told on time and once, and
//! the other knows what is true as soon as it can be told.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Job, Reply, StubCli, change_of, documents_in, now, observe_for, wait_until};

/// What may be wrong with an HTTP receiver: its answers, and whether it takes what it fails at.
fn troubles() -> Vec<(&'static str, Vec<Reply>)> {
    let fail = |status| Reply::from(Answer::json(status, &json!({"error": {"message": "no"}})));
    let well = || Answer::json(200, &json!({"ok": true}));
    vec![
        ("slow", vec![Reply::Late(Duration::from_millis(400), Box::new(well().into())); 4]),
        ("failing", vec![fail(500), fail(502), fail(500)]),
        ("flapping", vec![fail(500), well().into(), fail(500), well().into()]),
        ("too late", vec![Reply::Late(Duration::from_millis(900), Box::new(well().into())); 2]),
        ("resetting", vec![Reply::Reset, Reply::Reset]),
        ("half an answer", vec![Reply::Truncated(well()), Reply::Truncated(well())]),
        ("no answer", vec![Reply::Hang, Reply::Hang]),
        ("endless", vec![Reply::Endless(Answer::html(200)), Reply::Endless(Answer::html(200))]),
        ("moved", vec![Answer::empty(301).header("location", "/elsewhere").into()]),
        ("refusing for good", vec![fail(400), fail(404), fail(403)]),
        ("asking for time", vec![Answer::empty(429).header("retry-after", "1").into(), fail(503)]),
    ]
}

#[test]
fn a_troubled_receiver_is_alone_with_its_trouble_and_knows_what_is_true_in_the_end() {
    std::thread::scope(|scope| {
        for (name, replies) in troubles() {
            scope.spawn(move || troubled(name, &replies));
        }
    });
}

fn troubled(name: &str, replies: &[Reply]) {
    let mut job = Job::new([("board", json!(1))]);
    let mut webhook = job.openclaw.webhook_receiver();
    webhook["timeout"] = json!(600);
    job.setup.config["agents"] = json!([job.openclaw.plugin_receiver(), webhook]);
    job.openclaw.script_webhook(replies.iter().cloned());
    let mut daemon = job.start();
    for value in 2..6 {
        job.change("board", &json!(value));
        wait_until(Duration::from_secs(5), &format!("{name}: the healthy one is told on time"), || {
            job.documents().iter().any(|document| change_of(document, "board")["new"] == value)
        });
        if value == 3 {
            daemon.kill();
            daemon = job.start();
        }
    }
    // What it is refused for good is told with the next change.
    job.change("board", &json!(6));
    wait_until(DEADLINE, &format!("{name}: it knows what is true"), || {
        let told = job.openclaw.webhook_deliveries();
        told.last().is_some_and(|told| change_of(&told.json(), "board")["new"] == 6)
            && daemon.log().iter().any(|line| line.contains("to webhook:") && line.contains("delivered"))
    });
    let mut batches: Vec<Value> = job.documents().iter().map(|document| document["batchId"].clone()).collect();
    let all = batches.len();
    batches.dedup();
    // Its own last delivery may have been cut off by the restart.
    assert!(all <= batches.len() + 1, "{name}: the healthy one was told {all} times of {} batches", batches.len());
    daemon.terminate();
}

/// What may be wrong with a program, as shell commands.
const BAD_PROGRAMS: [(&str, &str); 7] = [
    ("hangs", "sleep 60"),
    ("hangs and ignores signals", "trap '' TERM INT HUP; sleep 60 & wait; sleep 60"),
    ("leaves children that hold its output", "sleep 60 & exit 0"),
    ("forks children that hang with it", "(sleep 60; sleep 60) & (sleep 60 &) ; sleep 60"),
    ("floods its output", "yes flood; exit 1"),
    ("floods its error output", "yes flood >&2"),
    ("dies of a signal", "kill -9 $$"),
];

#[test]
fn a_bad_program_is_alone_with_its_trouble() {
    std::thread::scope(|scope| {
        for (name, commands) in BAD_PROGRAMS {
            scope.spawn(move || bad_program(name, commands));
        }
    });
}

fn bad_program(name: &str, commands: &str) {
    let mut job = Job::new([("board", json!(1))]);
    let cli = StubCli::new(&job.setup.path("bin"));
    cli.behave(commands);
    job.setup.config["push"]["openclaw"] = json!({"enabled": true, "bin": cli.path(), "target": "me", "timeout": 500});
    let inbox = job.setup.path("inbox");
    fs::write(job.setup.path("behaviour"), commands).expect("a behaviour");
    // The first argument of the script is where it lies; it is never written while it runs.
    let script = r#"if [ -f "$0/behaviour" ]; then . "$0/behaviour"; fi; cat >>"$0/inbox""#;
    let command = json!({"type": "command", "argv": ["/bin/sh", "-c", script, job.setup.path(".")], "timeout": 500});
    job.setup.config["agents"] = json!([job.openclaw.plugin_receiver(), command]);
    let mut daemon = job.start();
    let before = daemon.rss_kib();
    for value in 2..5 {
        let changed = now();
        job.ograph.set("board", &json!(value));
        wait_until(DEADLINE, &format!("{name}: the healthy one is told"), || {
            job.documents().iter().any(|document| change_of(document, "board")["new"] == value)
        });
        assert!(changed.elapsed() < Duration::from_secs(4), "{name}: told after {:?}", changed.elapsed());
        if value == 3 {
            daemon.kill();
            daemon = job.start();
        }
    }
    wait_until(DEADLINE, &format!("{name}: the CLI was called"), || !cli.calls().is_empty());
    observe_for(Duration::from_millis(600));
    let grown = daemon.rss_kib().saturating_sub(before);
    assert!(grown < 12 * 1_024, "{name}: {grown} KiB more resident memory");

    // Mended, it is told what is true now, once.
    cli.behave("exit 0");
    fs::remove_file(job.setup.path("behaviour")).expect("the behaviour");
    job.change("board", &json!(5));
    wait_until(Duration::from_secs(40), &format!("{name}: the command knows what is true"), || {
        documents_in(&inbox).last().is_some_and(|document| change_of(document, "board")["new"] == 5)
    });
    daemon.terminate();
}

#[test]
fn a_program_that_is_missing_or_loses_its_exec_bit_is_said_once_and_found_again() {
    for (name, break_it) in [
        ("missing", (|path: &Path| fs::remove_file(path)) as fn(&Path) -> std::io::Result<()>),
        ("exec bit", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644))),
        ("a folder", |path| fs::remove_file(path).and_then(|()| fs::create_dir(path))),
        ("no interpreter", |path| replace(path, "#!/no/such/interpreter\n")),
    ] {
        let mut job = Job::new([("board", json!(1))]);
        let (program, inbox) = (job.setup.path("take"), job.setup.path("inbox"));
        let script = "#!/bin/sh\ncat >>\"$1\"\n";
        replace(&program, script).expect("a program");
        job.setup.config["agents"] =
            json!([job.openclaw.plugin_receiver(), {"type": "command", "argv": [program, inbox]}]);
        let daemon = job.start();
        break_it(&program).expect("broken");
        job.change("board", &json!(2));
        job.wait_for_documents(1);
        daemon.wait_for_log("command:", DEADLINE);
        job.change("board", &json!(3));
        job.wait_for_documents(2);
        daemon.kill();
        let daemon = job.start();
        daemon.wait_for_log("command:", DEADLINE);
        if program.is_dir() {
            fs::remove_dir(&program).expect("the folder");
        }
        replace(&program, script).expect("a program");
        // What is refused for good waits for new content.
        job.change("board", &json!(4));
        wait_until(Duration::from_secs(30), &format!("{name}: it is found again"), || {
            documents_in(&inbox).last().is_some_and(|document| change_of(document, "board")["new"] == 4)
        });
        let told = documents_in(&inbox);
        assert_eq!(change_of(&told[0], "board")["old"], 1, "{name}: it was told nothing before");
        assert_eq!(told.len(), 1, "{name}");
        daemon.terminate();
    }
}

/// Another process may be starting a program right now and hold what we write open, so it is renamed into place by a
/// process of its own.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let script = r#"printf %s "$2" >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""#;
    let status = std::process::Command::new("/bin/sh").args(["-c", script, "sh"]).arg(path).arg(text).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
}
