//! `service`, `completions` and `man`.

use std::fs;

use serde_json::json;

use crate::user::User;

#[test]
fn printing_and_installing_give_the_same_text() {
    let user = User::new();
    user.configure(&json!({"ograph": {"endpoint": "https://o.example", "token": "t", "projections": ["p"]}}));
    let printed = user.run("service print --kind systemd");
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.out.contains("\nType=notify\n") && printed.out.contains("ograph-dispatcher run\n"), "{printed:?}");
    if cfg!(target_os = "linux") {
        let installed = user.run("service install");
        assert_eq!((installed.code, installed.err.as_str()), (0, ""), "{installed:?}");
        let unit = user.path("config/systemd/user/ograph-dispatcher.service");
        assert_eq!(fs::read_to_string(&unit).expect("the unit"), printed.out);
        assert!(installed.out.contains("systemctl --user enable --now ograph-dispatcher"), "{installed:?}");
        assert!(user.run("service install").out.starts_with("unchanged: "));

        fs::write(&unit, "[Unit]\n# mine\n").expect("a file");
        let refused = user.run("service install");
        assert!(refused.code == 1 && refused.err.contains("--force"), "{refused:?}");
        let forced = user.run("service install --force --json");
        assert_eq!(forced.json()["written"], true);
        assert_eq!(fs::read_to_string(&unit).expect("the unit"), printed.out);
    }
}

#[test]
fn a_configuration_at_another_place_is_part_of_the_service() {
    let mut user = User::new();
    let line = format!("ExecStart={} --config", env!("CARGO_BIN_EXE_ograph-dispatcher"));
    for command in ["service print --kind systemd --config a.json", "--config a.json service print --kind systemd"] {
        let run = user.run(command);
        let file = user.path("a.json");
        assert!(run.out.contains(&format!("{line} {} run\n", file.display())), "{command}: {run:?}");
    }
    user.set("OGRAPH_CONFIG_FILE", "b.json");
    assert!(user.run("service print --kind launchd").out.contains("b.json</string>"));
    assert_eq!(user.run("--min-available 3 service print").code, 2);
}

#[test]
fn a_service_that_would_miss_the_users_variables_is_a_warning() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut user = User::new();
    user.set("OGRAPH_TOKEN", "hush-hush");
    user.configure(&json!({"ograph": {"endpoint": "https://o.example", "projections": ["p"]}}));
    let run = user.run("service install");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("the service does not see your environment variables"), "{run:?}");
    assert!(!run.err.contains("hush-hush") && !run.out.contains("hush-hush"), "{run:?}");
}

#[test]
fn every_shell_gets_completions_of_every_command() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = user.run(&format!("completions {shell}"));
        assert_eq!(run.code, 0, "{shell}");
        for word in ["when-available", "doctor", "deliveries"] {
            assert!(run.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(user.run("completions tcsh").code, 2);
}

#[test]
fn there_is_a_manual_page_of_the_whole_and_of_every_command() {
    let user = User::new();
    let whole = user.run("man");
    assert!(
        whole.code == 0 && whole.out.contains(".TH ograph-dispatcher 1") && whole.out.contains("Exit codes"),
        "{whole:?}"
    );
    let page = user.run("man flush");
    assert!(page.out.contains(".TH ograph-dispatcher-flush 1") && page.out.contains("when\\-available"), "{page:?}");
    for unknown in ["man nothing", "man schema"] {
        let run = user.run(unknown);
        assert!(run.code == 2 && run.err.starts_with("error: there is no command"), "{run:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    let user = User::new();
    let help = user.run("--help").out;
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let commands: Vec<_> = commands.lines().filter(is_name).filter_map(|line| line.split_whitespace().next()).collect();
    for expected in
        ["run", "init", "check", "doctor", "sandbox", "status", "pending", "projections", "deliveries", "flush"]
    {
        assert!(commands.contains(&expected), "{expected}: {commands:?}");
    }
    for expected in ["poll", "pause", "resume", "reload", "open", "service", "completions", "man"] {
        assert!(commands.contains(&expected), "{expected}: {commands:?}");
    }
    for command in commands.iter().filter(|command| **command != "help") {
        let run = user.run(&format!("{command} --help"));
        assert!(run.code == 0 && run.out.contains(&format!("Usage: ograph-dispatcher {command}")), "{run:?}");
        let talks = !["run", "init", "completions", "man", "service", "openclaw", "sandbox", "state"].contains(command);
        assert_eq!(run.out.contains("--json"), talks, "{command}: every command with output has --json");
    }
}
