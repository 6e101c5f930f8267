//! The files in `config/` and what is printed and installed are the same text.

use super::*;

const UNIT: &str = include_str!("../../../config/ograph-dispatcher.service");
const AGENT: &str = include_str!("../../../config/dev.ograph.dispatcher.plist");

fn plan(program: &str, path: &str, home: &str) -> Plan {
    Plan { command: vec![program.to_owned(), "run".to_owned()], path: path.to_owned(), home: home.to_owned() }
}

#[test]
fn the_files_in_the_repository_are_what_is_printed_for_their_paths() {
    let agent =
        plan("/usr/local/bin/ograph-dispatcher", "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin", "/Users/you");
    assert_eq!(Kind::Launchd.text(&agent), AGENT);
    let path = "/home/ann/.local/bin:/usr/local/bin:/usr/bin:/bin";
    let unit = plan("/usr/local/bin/ograph-dispatcher", path, "/home/ann");
    assert_eq!(Kind::Systemd.text(&unit).replace("/home/ann/", "%h/"), UNIT);
}

#[test]
fn other_paths_arrive_whatever_is_in_them() {
    let mut plan = plan("/opt/a & b/50%/x", "/q\"/bin:/bin", "/Users/<ann>");
    plan.command.splice(1..1, ["--config".to_owned(), "/c \\ d.json".to_owned()]);
    let unit = Kind::Systemd.text(&plan);
    assert!(unit.contains("\nExecStart=\"/opt/a & b/50%%/x\" --config \"/c \\\\ d.json\" run\n"), "{unit}");
    assert!(unit.contains("\nEnvironment=\"PATH=/q\\\"/bin:/bin\"\n"), "{unit}");
    let agent = Kind::Launchd.text(&plan);
    for line in ["/opt/a &amp; b/50%/x", "--config", "/c \\ d.json", "run", "/q\"/bin:/bin"] {
        assert!(agent.contains(&format!("<string>{line}</string>\n")), "{line}: {agent}");
    }
    assert!(agent.contains("<string>/Users/&lt;ann&gt;/Library/Logs/ograph-dispatcher.log</string>"), "{agent}");
}

#[test]
fn the_unit_says_what_the_daemon_relies_on() {
    for line in [
        "Type=notify",
        "NotifyAccess=main",
        "Restart=always",
        "WatchdogSec=2min",
        "KillMode=mixed",
        "NoNewPrivileges=yes",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WantedBy=default.target",
    ] {
        assert!(UNIT.lines().any(|there| there == line), "{line}");
    }
    for would_break_a_receiver in ["PrivateTmp=", "MemoryDenyWriteExecute=", "ProtectHome=", "CapabilityBoundingSet="] {
        assert!(!UNIT.lines().any(|line| line.starts_with(would_break_a_receiver)), "{would_break_a_receiver}");
    }
}
