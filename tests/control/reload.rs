//! Another configuration while the daemon runs, by call and by signal.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Job, Signal, change_of, keys, wait_for, wait_until};

fn job() -> Job {
    Job::new([("board", json!(1)), ("other", json!(1))]).with_control()
}

/// Writes a configuration that the next reload reads.
fn configure(job: &Job, change: impl FnOnce(&mut Value)) {
    let mut config = job.setup.config.clone();
    change(&mut config);
    fs::write(job.setup.path("dispatcher.json"), config.to_string()).expect("a configuration file");
}

#[track_caller]
fn reload(client: &Client) -> Value {
    let response = client.post("/v1/reload", "");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[test]
fn a_wrong_file_is_refused_with_every_error_and_the_old_configuration_stays() {
    let job = job();
    let daemon = job.start();
    let client = Client::of(&job.setup);
    let mut events = client.listen(None);
    configure(&job, |config| {
        config["intervals"]["watcherIdle"] = json!(-1);
        config["oc"]["minAvailable"] = json!("many");
    });
    let response = client.post("/v1/reload", "");
    assert_eq!((response.status, response.header("content-type")), (400, Some("application/problem+json")));
    let problem = response.json();
    let paths: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["path"]).collect();
    assert!(
        paths.contains(&&json!("intervals.watcherIdle")) && paths.contains(&&json!("oc.minAvailable")),
        "{problem}"
    );
    assert!(problem["errors"][0]["place"].as_str().unwrap().contains("dispatcher.json:"), "{problem}");

    // And everywhere else.
    assert!(events.wait_for("reloadRefused").data["message"].as_str().unwrap().contains("watcherIdle"));
    let status = client.json("/v1/status");
    assert!(status["config"]["refused"].as_str().unwrap().contains("minAvailable"));
    assert_eq!(status["conditions"][0]["name"], "config.refused");
    assert_eq!(status["ready"], true);
    daemon.wait_for_log("the configuration is not reloaded", DEADLINE);
    assert!(client.get("/metrics").text().contains("name=\"config.refused\""));
    job.assert_nothing_is_pending();

    configure(&job, |_| ());
    assert_eq!(reload(&client), json!({"warnings": [], "afterRestart": []}));
    assert_eq!(client.json("/v1/status")["conditions"], json!([]));
}

#[test]
fn a_signal_reloads_just_as_a_call_does() {
    let job = job();
    let daemon = job.start();
    let client = Client::of(&job.setup);
    configure(&job, |config| config["oc"]["minAvailable"] = json!(7));
    daemon.signal(Signal::HUP);
    wait_until(DEADLINE, "the new minimum", || {
        client.json("/v1/status")["scheduler"]["availability"]["minAvailable"] == 7
    });
    fs::write(job.setup.path("dispatcher.json"), "{").unwrap();
    daemon.signal(Signal::HUP);
    wait_until(DEADLINE, "the refusal", || client.json("/v1/status")["config"]["refused"].is_string());
    assert_eq!(client.json("/v1/status")["scheduler"]["availability"]["minAvailable"], 7);
}

#[test]
fn projections_are_added_removed_and_changed_while_the_others_stay_as_they_are() {
    let job = job();
    job.openclaw.set_available(0);
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    job.ograph.set("fresh", &json!(1));
    job.change("board", &json!(2));
    configure(&job, |config| {
        config["ograph"]["projections"] = json!([Job::MARKER, "board", {"name": "other", "as": "renamed"}, "fresh"]);
    });
    reload(&client);
    let watched = || -> Vec<String> {
        let projections = client.json("/v1/projections");
        let projections = projections["projections"].as_array().unwrap().iter();
        projections.filter(|it| it["since"].is_string()).map(|it| it["projection"].as_str().unwrap().into()).collect()
    };
    wait_until(DEADLINE, "all four are known", || watched().len() == 4);
    let mut keys_now = watched();
    keys_now.sort();
    assert_eq!(keys_now, ["board", "fresh", Job::MARKER, "renamed"]);

    // The change from before the reload is still pending, and first values are no changes.
    job.ograph.set("fresh", &json!(2));
    job.ograph.wait_for_polls(&["fresh"], 2, DEADLINE);
    job.openclaw.set_available(9);
    let document = job.wait_for_documents(1).remove(0);
    let mut told = keys(&document);
    told.sort_unstable();
    assert_eq!(told, ["board", "fresh"]);
    assert_eq!(change_of(&document, "board")["old"], 1);
}

#[test]
fn a_receiver_that_is_added_is_told_what_comes_and_one_that_is_removed_no_more() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    configure(&job, |config| config["agents"] = json!([job.openclaw.webhook_receiver()]));
    reload(&client);
    wait_until(DEADLINE, "the webhook is a receiver", || {
        let status = client.json("/v1/status");
        let receivers = status["receivers"].as_array().unwrap();
        receivers.len() == 1 && receivers[0]["receiver"].as_str().unwrap().contains("webhook")
    });
    job.ograph.set("board", &json!(2));
    wait_until(DEADLINE, "the webhook is told", || !job.openclaw.webhook_deliveries().is_empty());
    assert_eq!(job.attempts().len(), 0, "the plugin is not");
}

#[test]
fn intervals_take_effect_at_once() {
    let mut job = job();
    job.setup.config["intervals"]["watcherIdle"] = json!(3_600_000);
    job.setup.config["intervals"]["watcherActive"] = json!(3_600_000);
    let _daemon = job.setup.start();
    let client = Client::of(&job.setup);
    wait_for(DEADLINE, "the first poll", || {
        client.json("/v1/status")["watcher"]["polls"].as_u64().filter(|polls| *polls >= 3)
    });
    configure(&job, |config| config["intervals"]["watcherIdle"] = json!(50));
    reload(&client);
    job.ograph.wait_for_polls(&["board"], 3, DEADLINE);
    assert_eq!(client.json("/v1/status")["watcher"]["intervalMs"], 50);
}

#[test]
fn what_only_a_start_can_change_is_named() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    configure(&job, |config| {
        config["control"]["listen"] = json!("127.0.0.1:1");
        config["log"] = json!({"format": "json"});
    });
    assert_eq!(reload(&client)["afterRestart"], json!(["control.listen", "log.format"]));
    assert_eq!(client.get("/v1/status").status, 200, "and the server stays where it is");
}
