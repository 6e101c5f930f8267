//! Who is told: every receiver the same, each by itself.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Answer, DEADLINE, Job, OGraph, OpenClaw, Reply, StubCli, change_of, documents_in, keys, wait_for, wait_until,
};

const BOARD: &str = "board?agent_id=3";

/// The value of `--name VALUE` or `--name=VALUE`.
fn option<'a>(call: &'a [String], name: &str) -> Option<&'a str> {
    let joined = format!("{name}=");
    let separate = call.iter().position(|argument| argument == name).and_then(|at| call.get(at + 1));
    separate.map(String::as_str).or_else(|| call.iter().find_map(|argument| argument.strip_prefix(&joined)))
}

#[test]
fn a_change_reaches_every_receiver_in_the_same_batch() {
    let (old, new) = (json!({"open": 1, "status": "todo"}), json!({"open": 1, "status": "review", "by": "mira"}));
    let mut job = Job::new([(BOARD, old.clone())]);
    let (file, inbox) = (job.setup.path("dispatch.json"), job.setup.path("inbox"));
    let cli = StubCli::new(&job.setup.path("bin"));
    job.setup.config["push"] = json!({
        "dispatchFile": file,
        "openclaw": {
            "enabled": true,
            "bin": cli.path(),
            "channel": "telegram",
            "target": "-100200",
            "message": "{count} in {file}: {names} ({batchId})",
        },
    });
    let command = json!({"type": "command", "argv": ["/bin/sh", "-c", "cat >>\"$0\"", inbox]});
    job.setup.config["agents"] = json!([job.openclaw.plugin_receiver(), job.openclaw.webhook_receiver(), command]);
    let daemon = job.start();
    job.ograph.set(BOARD, &new);

    let in_plugin = job.wait_for_documents(1).remove(0);
    let in_file: Value =
        wait_for(DEADLINE, "the dispatch file", || serde_json::from_slice(&fs::read(&file).ok()?).ok());
    let in_webhook = wait_for(DEADLINE, "the webhook", || job.openclaw.webhook_deliveries().into_iter().next());
    let in_command = wait_for(DEADLINE, "the command", || documents_in(&inbox).into_iter().next());
    let call = wait_for(DEADLINE, "the CLI", || cli.calls().into_iter().next());

    assert_eq!(in_file["version"], 1);
    let batch = in_file["batchId"].as_str().unwrap();
    assert!(batch.len() == 36 && batch.as_bytes()[14] == b'7', "a UUIDv7: {batch}");
    assert_eq!(in_file["reason"], "available");
    assert_eq!(in_file["availability"], json!({"available": 9, "minAvailable": 2}));
    assert_eq!(keys(&in_file), [BOARD]);
    let change = change_of(&in_file, BOARD);
    assert_eq!((&change["name"], &change["params"]), (&json!("board"), &json!({"agent_id": "3"})));
    assert_eq!((&change["kind"], &change["merged"]), (&json!("changed"), &json!(1)));
    assert_eq!((&change["old"], &change["new"]), (&old, &new));
    let mut patch = change["patch"].as_array().unwrap().clone();
    patch.sort_by_key(|operation| operation["path"].to_string());
    assert_eq!(
        json!(patch),
        json!([
            {"op": "add", "path": "/by", "value": "mira"},
            {"op": "replace", "path": "/status", "value": "review"},
        ])
    );
    for time in [&in_file["createdAt"], &change["firstChangedAt"], &change["lastChangedAt"]] {
        let time = time.as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "RFC 3339 in UTC with milliseconds: {time}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut expected = in_file.clone();
    expected["actor"] = json!("dispatcher");
    assert_eq!(in_plugin, expected);
    assert!(job.attempts()[0].bears(OpenClaw::SECRET));
    assert_eq!(in_webhook.json(), in_file);
    assert_eq!(in_webhook.header("webhook-id"), Some(batch));
    assert!(in_webhook.header("webhook-timestamp").unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert!(in_webhook.header("webhook-signature").unwrap().starts_with("v1,"));
    assert_eq!(in_command, in_file);
    assert_eq!(&call[..2], ["message", "send"]);
    assert_eq!((option(&call, "--channel"), option(&call, "--target")), (Some("telegram"), Some("-100200")));
    let text = option(&call, "--message").unwrap();
    assert!(text.starts_with("1 in "), "{text}");
    for part in [BOARD, batch, file.to_str().unwrap()] {
        assert!(text.contains(part), "{part} is in {text}");
    }

    job.assert_nothing_is_pending();
    let marker = job.documents()[1]["batchId"].clone();
    wait_until(DEADLINE, "every receiver has the second batch too, and no other", || {
        let file: Option<Value> = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        file.is_some_and(|document| document["batchId"] == marker)
            && job.openclaw.webhook_deliveries().get(1).is_some_and(|delivery| delivery.json()["batchId"] == marker)
            && documents_in(&inbox).get(1).is_some_and(|document| document["batchId"] == marker)
            && cli.calls().get(1).is_some_and(|call| call.join(" ").contains(marker.as_str().expect("an id")))
    });
    for secret in [OGraph::TOKEN, OpenClaw::TOKEN, OpenClaw::SECRET, OpenClaw::WEBHOOK_SECRET] {
        assert_eq!(daemon.count_log(secret), 0, "no secret is logged");
    }
}

#[test]
fn two_agents_of_one_openclaw_are_told_under_ids_of_their_own_because_it_takes_one_id_for_one_turn() {
    let mut job = Job::new([(BOARD, json!(1))]);
    let mut agents = [job.openclaw.plugin_receiver(), job.openclaw.plugin_receiver()];
    agents[0]["actor"] = json!(3);
    agents[1]["actor"] = json!(4);
    agents[1]["name"] = json!("the other");
    let inbox = job.setup.path("inbox");
    let command = json!({"type": "command", "argv": ["/bin/sh", "-c", "cat >>\"$0\"", inbox]});
    job.setup.config["agents"] = json!([agents[0], agents[1], command]);
    // The second attempt at the first one repeats its id, whatever the others had.
    job.openclaw.script_plugin([Answer::empty(503).into()]);
    let _daemon = job.start();
    job.ograph.set(BOARD, &json!(2));
    let told = job.wait_for_documents(3);
    let ids = |actor: u64| -> Vec<&Value> {
        told.iter().filter(|document| document["actor"] == actor).map(|document| &document["batchId"]).collect()
    };
    let (first, second) = (ids(3), ids(4));
    assert_eq!(first.len() + second.len(), 3, "{told:#?}");
    assert!(first.iter().all(|id| *id == first[0]) && second.iter().all(|id| *id == second[0]), "{told:#?}");
    assert_ne!(first[0], second[0], "OpenClaw would take the second agent's batch for a repetition");
    assert_eq!(told[0]["changes"], told[1]["changes"], "all else is the same");
    // Whoever else is told shares one of the two.
    let in_command = wait_for(DEADLINE, "the command", || documents_in(&inbox).into_iter().next());
    assert!([first[0], second[0]].contains(&&in_command["batchId"]), "{in_command:#}");
}

#[test]
fn a_receiver_that_fails_gets_the_same_batch_again_and_holds_nobody_up() {
    let mut job = Job::new([(BOARD, json!(1))]);
    job.setup.config["agents"] = json!([job.openclaw.plugin_receiver(), job.openclaw.webhook_receiver()]);
    job.openclaw.script_plugin([Answer::html(503).into(), Reply::Reset]);
    let _daemon = job.start();
    job.ograph.set(BOARD, &json!(2));
    let documents = job.wait_for_documents(3);
    assert!(documents.iter().all(|document| *document == documents[0]), "content and id stay: {documents:#?}");
    let webhook = job.openclaw.webhook_deliveries();
    assert_eq!(webhook.len(), 1, "the other one is told once");
    assert_eq!(webhook[0].json()["batchId"], documents[0]["batchId"]);
    assert!(webhook[0].at < job.attempts()[2].at, "and does not wait");
    job.assert_nothing_is_pending();
}

#[test]
fn a_receiver_that_hangs_delays_no_other_and_later_gets_what_is_true_then() {
    let mut job = Job::new([(BOARD, json!(1))]);
    job.setup.config["agents"] = json!([job.openclaw.plugin_receiver(), job.openclaw.webhook_receiver()]);
    // The answer comes late, and is a failure.
    job.openclaw.script_plugin([Reply::Late(Duration::from_secs(6), Box::new(Answer::html(503).into()))]);
    let _daemon = job.start();
    for (value, count) in [(2, 1), (3, 2), (4, 3)] {
        job.change(BOARD, &json!(value));
        wait_until(DEADLINE, "the webhook is told", || job.openclaw.webhook_deliveries().len() == count);
        assert_eq!(job.attempts().len(), 1, "while the plugin has not answered yet");
    }
    let documents = job.wait_for_documents(2);
    let change = change_of(&documents[1], BOARD);
    assert_eq!((&change["old"], &change["new"]), (&json!(1), &json!(4)), "not every stale step");
    job.assert_nothing_is_pending();
}

#[test]
fn a_receiver_may_ask_for_time() {
    let job = Job::new([(BOARD, json!(1))]);
    job.openclaw.script_plugin([Answer::empty(429).header("retry-after", "2").into()]);
    let _daemon = job.start();
    job.ograph.set(BOARD, &json!(2));
    job.wait_for_documents(2);
    let attempts = job.attempts();
    let apart = attempts[1].at - attempts[0].at;
    assert!(apart >= Duration::from_secs(2), "asked to wait 2 s, it came back after {apart:?}");
}

#[test]
fn a_batch_that_is_refused_for_good_is_not_repeated_but_its_changes_are_told_with_the_next() {
    let job = Job::new([(BOARD, json!(1))]);
    job.openclaw.script_plugin([Answer::json(400, &json!({"error": {"message": "no"}})).into()]);
    let _daemon = job.start();
    job.ograph.set(BOARD, &json!(2));
    job.wait_for_documents(1);
    // Several cooldowns long nothing comes.
    job.wait_for_polls(20);
    assert_eq!(job.attempts().len(), 1, "the same batch would be refused again");
    job.change(BOARD, &json!(3));
    let documents = job.wait_for_documents(2);
    let change = change_of(&documents[1], BOARD);
    assert_eq!((&change["old"], &change["new"]), (&json!(1), &json!(3)));
    assert_ne!(documents[0]["batchId"], documents[1]["batchId"]);
}
