//! `openclaw install-plugin`, and what `init` learns from OpenClaw's own configuration.

use std::fs;

use serde_json::{Value, json};

use crate::user::User;

const OPENCLAW: &str = "{\n  // mine\n  gateway: {port: 19001, auth: {mode: 'token', token: 'hush-hush'}},\n}\n";

/// The file as OpenClaw reads it.
fn openclaw_json(user: &User) -> String {
    fs::read_to_string(user.path(".openclaw/openclaw.json")).expect("a file")
}

#[test]
fn the_plugin_is_written_and_what_openclaw_needs_is_shown() {
    let user = User::new();
    let run = user.run("openclaw install-plugin");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let folder = user.path("config/ograph/openclaw-plugin");
    let start = run.out.find("\n{").expect("JSON");
    let end = run.out.find("\n}").expect("JSON") + 2;
    let part: Value = serde_json::from_str(&run.out[start..end]).expect("JSON");
    assert_eq!(part, json!({"plugins": {"load": {"paths": [folder]}, "entries": {"ograph": {"enabled": true}}}}));
    for words in [".openclaw/openclaw.json:", "--apply", "openclaw gateway restart"] {
        assert!(run.out.contains(words), "{words}: {run:?}");
    }
    assert!(folder.join("index.js").is_file() && folder.join("openclaw.plugin.json").is_file());
    let again = user.run("openclaw install-plugin --json").json();
    assert_eq!((&again["written"], &again["applied"], &again["add"]), (&json!(false), &json!(false), &part));
    assert!(!user.path(".openclaw").exists(), "without --apply nothing of OpenClaw's is touched");
}

#[test]
fn apply_edits_openclaws_configuration_once() {
    let mut user = User::new();
    user.set("OPENCLAW_STATE_DIR", "~/.openclaw");
    user.write(&user.path(".openclaw/openclaw.json"), OPENCLAW);
    let run = user.run("openclaw install-plugin --apply --dir here/.");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert!(!run.out.contains("hush-hush"), "{run:?}");
    let text = openclaw_json(&user);
    assert!(text.contains("// mine") && text.contains(user.path("here").to_str().expect("UTF-8")), "{text}");
    assert!(text.starts_with(OPENCLAW.trim_end().trim_end_matches(['}', '\n'])), "{text}");
    assert_eq!(fs::read_to_string(user.path(".openclaw/openclaw.json.bak-1")).expect("a file"), OPENCLAW);

    let again = user.run("openclaw install-plugin --apply --dir here");
    assert!(again.code == 0 && again.out.contains("already there: ") && !again.out.contains("restart"), "{again:?}");
    assert_eq!(openclaw_json(&user), text);
    assert!(!user.path(".openclaw/openclaw.json.bak-2").exists());

    let elsewhere = user.run("openclaw install-plugin --apply --json");
    assert!(elsewhere.json()["warnings"][0].as_str().expect("text").contains("holds this plugin too"), "{elsewhere:?}");
    assert!(elsewhere.json()["backup"].as_str().expect("text").ends_with("openclaw.json.bak-2"));
}

#[test]
fn what_cannot_be_edited_stays_and_the_part_is_shown() {
    let user = User::new();
    let missing = user.run("openclaw install-plugin --apply");
    assert!(missing.code == 1 && missing.err.starts_with("error: there is no "), "{missing:?}");
    let text = "{\"plugins\": [], \"token\": \"hush-hush\"}";
    user.write(&user.path(".openclaw/openclaw.json"), text);
    let run = user.run("openclaw install-plugin --apply");
    assert!(run.code == 1 && run.err.contains("plugins is not an object; nothing in it was changed"), "{run:?}");
    assert!(run.out.contains("\"paths\": [") && !run.out.contains("hush-hush"), "{run:?}");
    assert_eq!(openclaw_json(&user), text);
    assert_eq!(fs::read_dir(user.path(".openclaw")).expect("a folder").count(), 1);
}

#[test]
fn an_allow_list_without_the_plugin_is_a_warning_and_stays() {
    let user = User::new();
    user.write(&user.path(".openclaw/openclaw.json"), "{\"plugins\": {\"allow\": [\"x\"]}}");
    let run = user.run("openclaw install-plugin --apply");
    assert!(run.code == 0 && run.err.starts_with("warning: plugins.allow does not name \"ograph\""), "{run:?}");
    assert!(openclaw_json(&user).contains("\"allow\": [\"x\"]"));
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let user = User::new();
    user.write(&user.path("mine/index.js"), "mine");
    let run = user.run("openclaw install-plugin --dir mine");
    assert!(run.code == 1 && run.err.contains("another plugin"), "{run:?}");
    assert_eq!(fs::read_to_string(user.path("mine/index.js")).expect("a file"), "mine");
    assert_eq!(user.run("--min-available 3 openclaw install-plugin").code, 2);
}

#[test]
fn init_takes_the_gateway_that_it_finds_and_leaves_the_secret_where_it_is() {
    let mut user = User::new();
    user.write(&user.path(".openclaw/openclaw.json"), OPENCLAW);
    user.write(&user.path("token"), "t");
    let line = "init --endpoint https://o.example --projection p --token-file token";
    let run = user.run(line);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    for words in [
        ".openclaw/openclaw.json",
        "ws://127.0.0.1:19001",
        "its agent is told",
        "was not copied",
        "set OPENCLAW_GATEWAY_TOKEN",
    ] {
        assert!(run.out.contains(words), "{words}: {run:?}");
    }
    let file = user.path("config/ograph/dispatcher.json");
    let written = || fs::read_to_string(&file).expect("a file");
    assert!(!written().contains("hush-hush") && !run.out.contains("hush-hush"));
    user.set("OPENCLAW_GATEWAY_TOKEN", "hush-hush");
    let check = user.run("check --json");
    assert_eq!(check.code, 0, "what was written works: {check:?}");
    assert!(check.out.contains("ws://127.0.0.1:19001"), "{check:?}");
    let agent = json!({
        "type": "oc-gateway", "name": "agent", "url": "ws://127.0.0.1:19001",
        "token": {"env": "OPENCLAW_GATEWAY_TOKEN"}, "mode": "agent", "sessionKey": "ograph",
    });
    assert!(written().contains(&format!("  \"agents\": {}\n", json!([agent]))), "{}", written());
    let again = user.run(&format!("{line} --force"));
    assert!(!again.out.contains("set OPENCLAW_GATEWAY_TOKEN"), "it is set: {again:?}");

    user.env.clear();
    let copied = user.run(&format!("{line} --force --copy-openclaw-token"));
    assert!(copied.out.contains("COPIED") && !copied.out.contains("hush-hush"), "{copied:?}");
    assert!(written().contains("\"token\":\"hush-hush\""), "{}", written());
    assert_eq!(user.run("check").code, 0);
}

#[test]
fn init_says_why_an_openclaw_is_of_no_use_and_writes_its_file_all_the_same() {
    let user = User::new();
    for (text, words) in [("{nonsense", "cannot be read"), ("{gateway: {mode: 'remote'}}", "another machine")] {
        user.write(&user.path(".openclaw/openclaw.json"), text);
        let run = user.run("init --force");
        assert!(run.code == 0 && run.out.contains("openclaw.json, but ") && run.out.contains(words), "{run:?}");
    }
    fs::remove_file(user.path(".openclaw/openclaw.json")).expect("a file");
    assert!(!user.run("init --force").out.contains("OpenClaw"));
    assert!(user.run("init --force --copy-openclaw-token").out.contains("no token was copied"));
}
