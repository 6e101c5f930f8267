//! Files: where they are looked for, what is wrong with them, and the secrets that lie beside them.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

/// A home folder of its own, and a loader that knows nothing else.
fn home() -> (TempDir, Loader) {
    let home = tempfile::tempdir().unwrap();
    let environment = Environment {
        home: Some(home.path().to_owned()),
        config: Some(home.path().join(".config")),
        state: Some(home.path().join("state")),
        temp: home.path().join("tmp"),
        current: home.path().to_owned(),
        ..Environment::default()
    };
    (home, Loader { environment, flags: Flags::default() })
}

fn set(loader: &mut Loader, name: &str, value: &str) {
    loader.environment.variables.insert(name.into(), value.into());
}

fn write(file: PathBuf, text: &str) -> PathBuf {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    #[cfg(unix)]
    set_mode(&file, 0o600);
    file
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_run_says_where_the_file_belongs_and_how_to_begin() {
    let (home, loader) = home();
    let path = home.path().join(".config/ograph/dispatcher.json");
    let error = loader.load().unwrap_err();
    assert_eq!(error, LoadError::FirstRun(path.clone()));
    let text = error.to_string();
    for part in [path.to_str().unwrap(), "ograph-dispatcher init", "ograph-dispatcher sandbox"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn environment_and_flags_are_enough_without_a_file() {
    let (_home, mut loader) = home();
    set(&mut loader, "OGRAPH_ENDPOINT", "http://x");
    assert_eq!(
        loader.load().unwrap_err().to_string(),
        "error: configuration: ograph.token: is missing; set it in the file, as OGRAPH_TOKEN or with --token-file\n\
         warning: configuration: ograph.projections: is empty, so nothing is watched; name projections in the file or as \
         OGRAPH_PROJECTIONS"
    );
    set(&mut loader, "OGRAPH_TOKEN", "t");
    loader.flags = loader.flags.with("--projection", ["p?b=1&a=2".to_owned(), "q".to_owned()]);
    let loaded = loader.load().unwrap();
    assert_eq!((loaded.file, loaded.warnings), (None, Vec::new()));
    let keys = loaded.config.ograph.projections.iter().map(|projection| projection.key.as_str());
    assert_eq!(keys.collect::<Vec<_>>(), ["p?a=2&b=1", "q"]);
}

#[test]
fn a_file_that_somebody_named_has_to_be_readable() {
    let (home, mut loader) = home();
    let path = home.path().join("x.json");
    let shown = path.display();
    set(&mut loader, "OGRAPH_CONFIG_FILE", "~/x.json");
    assert_eq!(
        loader.load().unwrap_err().to_string(),
        format!(
            "error: OGRAPH_CONFIG_FILE: cannot read {shown}: No such file or directory (os error 2); \
             `ograph-dispatcher init` creates it"
        )
    );
    loader.flags = Flags::new(Some("x.json".into()));
    fs::create_dir(&path).unwrap();
    let error = loader.load().unwrap_err().to_string();
    assert!(error.starts_with(&format!("error: --config: cannot read {shown}: ")), "{error}");
    fs::remove_dir(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = loader.load().unwrap_err().to_string();
    assert_eq!(error, format!("error: --config: {shown} is larger than 4194304 bytes"));
}

#[test]
fn places_name_the_file_that_was_read() {
    let (home, mut loader) = home();
    let path = write(home.path().join(".config/ograph/dispatcher.json"), "{\n5}");
    loader.environment.config = None;
    assert_eq!(
        loader.load().unwrap_err().to_string(),
        format!("error: {}:2:1: not valid JSON: a key must stand in double quotes", path.display())
    );
}

#[test]
fn a_token_file_is_looked_for_beside_the_configuration() {
    let (home, mut loader) = home();
    let text = |path: &str| file("").replace("\"t\"", &format!("{{\"file\": \"{path}\"}}"));
    let config = write(home.path().join("etc/x.json"), &text("secrets/token"));
    loader.flags = Flags::new(Some(config.clone()));
    let token = write(home.path().join("etc/secrets/token"), "abc\r\n");
    assert_eq!(loader.load().unwrap().config.ograph.token.expose(), "abc");

    write(config.clone(), &text("~/etc/secrets/token"));
    assert_eq!(loader.load().unwrap().config.ograph.token.expose(), "abc");

    for (content, message) in [
        ("", format!("{} is empty", token.display())),
        ("\n", format!("{} is empty", token.display())),
        ("a\nb\n", "must be visible ASCII characters on one line, without white space around them".to_owned()),
    ] {
        write(token.clone(), content);
        let error = loader.load().unwrap_err().to_string();
        assert_eq!(error, format!("error: {}:2:54: ograph.token: {message}", config.display()), "{content:?}");
    }
    fs::write(&token, b"\xff").unwrap();
    let error = loader.load().unwrap_err().to_string();
    assert!(error.contains("stream did not contain valid UTF-8"), "{error}");
}

#[test]
fn relative_paths_of_the_file_start_from_its_folder() {
    let (home, mut loader) = home();
    let members = "\"push\": {\"dispatchFile\": \"out.json\", \"openclaw\": {\"bin\": \"./openclaw\"}}, \"state\": {\"dir\": \"s\"}";
    loader.flags = Flags::new(Some(write(home.path().join("etc/x.json"), &file(members))));
    let config = loader.load().unwrap().config;
    let etc = home.path().join("etc");
    assert_eq!(config.push.dispatch_file, Some(etc.join("out.json")));
    assert_eq!(config.push.openclaw.bin, etc.join("./openclaw"));
    assert_eq!(config.state_dir, etc.join("s"));
    loader.flags = loader.flags.with("--state-dir", ["s".to_owned()]);
    assert_eq!(loader.load().unwrap().config.state_dir, home.path().join("s"), "those of flags from the current one");
}

#[cfg(unix)]
#[test]
fn a_file_with_a_token_that_others_can_read_is_a_warning() {
    let (home, mut loader) = home();
    let path = write(home.path().join("x.json"), &file(""));
    let shown = path.display();
    let warning = format!("warning: {shown}: holds a token and can be read by others; run: chmod 600 {shown}");
    loader.flags = Flags::new(Some(path.clone()));
    let warnings = |loader: &Loader| match loader.load() {
        Ok(loaded) => loaded.warnings.iter().map(|warning| format!("warning: {warning}")).collect::<String>(),
        Err(error) => error.to_string(),
    };
    for (mode, expected) in [(0o600, ""), (0o640, ""), (0o644, warning.as_str()), (0o604, warning.as_str())] {
        set_mode(&path, mode);
        assert_eq!(warnings(&loader), expected, "{mode:o}");
    }
    // The token stands in it also while it is overridden.
    set(&mut loader, "OGRAPH_TOKEN", "other");
    assert_eq!(warnings(&loader), warning);
    fs::write(&path, file("\"log\": 5")).unwrap();
    assert!(warnings(&loader).ends_with(&warning), "also beside errors");
    fs::write(&path, file("").replace("\"t\"", "{\"env\": \"OGRAPH_TOKEN\"}")).unwrap();
    assert_eq!(warnings(&loader), "", "a reference is no secret");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_reported() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut loader = with(&[]);
    let value = std::ffi::OsString::from_vec(b"\xff".to_vec());
    loader.environment.variables.insert("OC_MIN_AVAILABLE".into(), value);
    assert_eq!(problems_with(&loader, &file("")), "error: OC_MIN_AVAILABLE: oc.minAvailable: is not valid UTF-8");
}
