//! The program from outside: commands, output and exit codes.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A user with an empty home folder and an empty environment.
struct User {
    home: TempDir,
}

/// What a run of the program came to.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_ograph-dispatcher"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path().join(".config"))
            .env("XDG_STATE_HOME", self.home.path().join(".local/state"))
            .envs(variables.iter().copied())
            .current_dir(self.home.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    fn config(&self) -> PathBuf {
        self.path(".config/ograph/dispatcher.json")
    }

    fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        private(&path);
        path
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}

const VALID: &str = r#"{
  "ograph": {"endpoint": "https://o.example", "token": "hush-hush", "projections": ["tasks?b=1&a=2"]},
  "push": {"openclaw": {"target": "@ann"}}
}"#;

#[test]
fn the_first_run_is_a_friendly_refusal() {
    let user = User::new();
    for arguments in [&[][..], &["run"], &["check"]] {
        let run = user.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        for part in [user.config().to_str().unwrap(), "ograph-dispatcher init", "ograph-dispatcher sandbox"] {
            assert!(run.err.contains(part), "{}", run.err);
        }
        assert!(!run.err.contains("panicked"), "{}", run.err);
    }
    let report: Value = serde_json::from_str(&user.run(&["check", "--json"]).out).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"][0]["file"], user.config().to_str().unwrap());
}

#[test]
fn a_valid_configuration_is_shown_with_the_origin_of_every_setting() {
    let user = User::new();
    user.write(".config/ograph/dispatcher.json", VALID);
    let run = user.run_with(&["check", "--log-format", "json"], &[("OC_MIN_AVAILABLE", "3")]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    for line in [
        "ograph.endpoint              https://o.example/  (line 2)",
        "ograph.token                 (secret)  (line 2)",
        "oc.minAvailable              3  (OC_MIN_AVAILABLE)",
        "oc.timeout                   5000  (default)",
        "log.format                   json  (--log-format)",
        "watches: tasks?a=2&b=1",
        "tells:   dispatch-file, openclaw",
        "ok",
    ] {
        assert!(run.out.lines().any(|found| found.trim() == line), "{line}\n{}", run.out);
    }
    assert!(!run.out.contains("hush"), "{}", run.out);

    let run = user.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &report["ok"], &report["errors"]), (Some(0), &Value::Bool(true), &serde_json::json!([])));
    let settings = report["settings"].as_array().unwrap();
    let endpoint = settings.iter().find(|setting| setting["path"] == "ograph.endpoint").unwrap();
    assert_eq!((&endpoint["value"], &endpoint["origin"]), (&"https://o.example/".into(), &"line 2".into()));
    assert!(!run.out.contains("hush"), "{}", run.out);
}

#[test]
fn an_invalid_configuration_is_refused_with_all_its_errors_by_every_command() {
    let user = User::new();
    let path =
        user.write("x.json", "{\n  \"ograph\": {\"endpoint\": \"x\"},\n  \"log\": {\"fromat\": 1, \"format\": 2}\n}");
    let path = path.to_str().unwrap();
    let errors = format!(
        "error: {path}:2:13: ograph.token: is missing; set it in the file, as OGRAPH_TOKEN or with --token-file\n\
         error: {path}:2:26: ograph.endpoint: must be a URL that starts with http:// or https://\n\
         error: {path}:3:34: log.format: must be \"text\" or \"json\", not 2\n"
    );
    for arguments in [&["--config", "x.json"][..], &["run", "--config", path], &["--config", path, "check"]] {
        let run = user.run(arguments);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.starts_with(&errors), "{}", run.err);
        assert!(run.err.contains("did you mean \"format\"?"), "{}", run.err);
    }
    let run = user.run_with(&["check", "--json"], &[("OGRAPH_CONFIG_FILE", path)]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, report["errors"].as_array().unwrap().len()), (Some(2), 3));
    let error = &report["errors"][1];
    assert_eq!(
        (&error["file"], &error["line"], &error["column"], &error["path"]),
        (&path.into(), &2.into(), &26.into(), &"ograph.endpoint".into())
    );
}

#[test]
fn init_writes_a_private_file_that_check_refuses_until_it_is_filled_in() {
    let user = User::new();
    let run = user.run(&["init"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.out.contains(user.config().to_str().unwrap()), "{}", run.out);
    assert!(run.out.contains("fill in ograph.endpoint, ograph.token, ograph.projections"), "{}", run.out);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&user.config()), 0o600);
        assert_eq!(mode(user.config().parent().unwrap()), 0o700);
    }
    let leftovers = fs::read_dir(user.config().parent().unwrap()).unwrap().count();
    assert_eq!(leftovers, 1, "no temporary file is left");

    let run = user.run(&["check"]);
    assert_eq!(run.code, Some(2));
    for path in ["ograph.endpoint", "ograph.token", "ograph.projections[0]"] {
        assert!(run.err.contains(&format!("{path}: still holds a placeholder")), "{}", run.err);
    }
    assert!(run.err.ends_with("3 errors\n"), "{}", run.err);
}

#[test]
fn init_with_flags_writes_a_file_that_is_complete() {
    let user = User::new();
    user.write("my token", "hush-hush\n");
    let endpoint = "https://o.example/\"quoted\"";
    let arguments =
        ["init", "--endpoint", endpoint, "--token-file", "my token", "--projection", "a", "--projection", "b?c=1"];
    let run = user.run(&arguments);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert!(!run.out.contains("fill in"), "{}", run.out);
    let run = user.run(&["check"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert!(run.out.contains("watches: a, b?c=1"), "{}", run.out);
    assert!(!fs::read_to_string(user.config()).unwrap().contains("hush"), "the token is not copied");
}

#[test]
fn init_never_replaces_a_file_unless_it_is_told_to() {
    let user = User::new();
    let path = user.write(".config/ograph/dispatcher.json", VALID);
    let run = user.run(&["init"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.err, format!("error: {} already exists; --force replaces it\n", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), VALID);

    assert_eq!(user.run(&["init", "--force"]).code, Some(0));
    assert_ne!(fs::read_to_string(&path).unwrap(), VALID);
}

#[test]
fn init_writes_where_it_is_told_to() {
    let user = User::new();
    let run = user.run(&["init", "--path", "a/b/c.json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let path = user.path("a/b/c.json");
    assert!(path.exists());
    assert!(run.out.contains(&format!("ograph-dispatcher check --config {}", path.display())), "{}", run.out);
    let run = user.run_with(&["init"], &[("OGRAPH_CONFIG_FILE", "d.json")]);
    assert_eq!((run.code, user.path("d.json").exists()), (Some(0), true), "{run:?}");

    user.write("occupied", "");
    let run = user.run(&["init", "--path", "occupied/x.json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.starts_with("error: cannot write "), "{}", run.err);
}

#[test]
fn init_does_not_write_what_check_would_refuse() {
    let user = User::new();
    let run = user.run(&["init", "--endpoint", "o.example", "--projection", "?"]);
    assert_eq!(
        (run.code, run.err.as_str()),
        (
            Some(2),
            "error: configuration: ograph.endpoint: must be a URL that starts with http:// or https://\n\
             error: configuration: ograph.projections[0]: the projection's name is empty\n"
        )
    );
    assert!(!user.config().exists());
}

#[test]
fn help_and_version_are_no_errors_but_a_wrong_command_line_is() {
    let user = User::new();
    let version = user.run(&["--version"]);
    assert_eq!((version.code, version.err.as_str()), (Some(0), ""));
    let expected = format!("ograph-dispatcher {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.out.starts_with(&expected), "{}", version.out);
    assert!(version.out.contains("rustc 1."), "{}", version.out);
    let help = user.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for command in ["run", "check", "init", "sandbox"] {
        assert!(help.out.lines().any(|line| line.trim_start().starts_with(command)), "{command}\n{}", help.out);
    }
    for arguments in [&["--nonsense"][..], &["nonsense"], &["--token", "x"], &["--endpoint", "http://x", "sandbox"]] {
        let run = user.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(!run.err.is_empty());
    }
}

#[test]
fn schema_prints_the_committed_schema() {
    let run = User::new().run(&["schema"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/dispatcher.schema.json");
    assert_eq!((run.code, run.out), (Some(0), fs::read_to_string(committed).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let user = User::new();
    user.write(".config/ograph/dispatcher.json", VALID);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_ograph-dispatcher"))
        .arg("check")
        .env_clear()
        .env("HOME", user.home.path())
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
