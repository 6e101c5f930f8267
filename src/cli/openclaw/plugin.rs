//! The OpenClaw plugin that this program carries: its files, and the folder they are written to.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// The plugin's name, as `openclaw.plugin.json` says it.
pub(super) const ID: &str = "ograph";
/// Its manifest. It is written first: by it, what was interrupted is known again as ours.
const MANIFEST: &str = "openclaw.plugin.json";

/// Every file of the plugin.
pub(super) const FILES: [(&str, &str); 5] = [
    (MANIFEST, include_str!("../../../config/openclaw-plugin/openclaw.plugin.json")),
    ("package.json", include_str!("../../../config/openclaw-plugin/package.json")),
    ("index.js", include_str!("../../../config/openclaw-plugin/index.js")),
    ("handlers.js", include_str!("../../../config/openclaw-plugin/handlers.js")),
    ("message.js", include_str!("../../../config/openclaw-plugin/message.js")),
];

/// Writes what is missing or different, each file in one step; says whether there was any.
///
/// # Errors
/// If the folder holds anything that is not this plugin's, or cannot be written.
pub(super) fn write(folder: &Path) -> Result<bool, String> {
    let shown = folder.display();
    if let Some(stranger) = stranger(folder).map_err(|error| format!("cannot read {shown}: {error}"))? {
        return Err(format!("{shown} holds {stranger}; name an empty folder with --dir"));
    }
    make(folder).map_err(|error| format!("cannot make {shown}: {error}"))?;
    let mut is_new = false;
    for (name, text) in FILES {
        let file = folder.join(name);
        if fs::read(&file).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        write_file(folder, &file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        is_new = true;
    }
    Ok(is_new)
}

/// Whether the folder holds this plugin, of whatever version.
pub(super) fn is_in(folder: &Path) -> bool {
    let manifest = fs::read(folder.join(MANIFEST)).unwrap_or_default();
    serde_json::from_slice(&manifest).is_ok_and(|manifest: serde_json::Value| manifest["id"] == ID)
}

/// What in the folder is not ours and would be mixed up with the plugin, in words.
fn stranger(folder: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut is_empty = true;
    for entry in entries {
        let entry = entry?;
        is_empty = false;
        let is_ours = FILES.iter().any(|(name, _)| entry.file_name() == *name) && entry.file_type()?.is_file();
        if !is_ours {
            return Ok(Some(format!("{:?}, which is not the plugin's", entry.file_name())));
        }
    }
    Ok((!is_empty && !is_in(folder)).then(|| "another plugin".to_owned()))
}

/// Makes the folder. OpenClaw, which may run as another user, reads it and accepts none that others may write to.
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    set_mode(folder, 0o755)
}

fn write_file(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut new = tempfile::Builder::new().prefix(".plugin").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    set_mode(new.path(), 0o644)?;
    new.as_file().sync_all()?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;

    fn content(folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    }

    #[test]
    fn the_program_carries_the_whole_plugin() {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/openclaw-plugin");
        let carried = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(content(&source), carried);
        assert!(is_in(&source), "{ID} is its id");
    }

    #[test]
    fn what_is_written_is_complete_and_only_written_when_it_differs() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/plugin");
        assert_eq!(write(&folder), Ok(true));
        assert_eq!(write(&folder), Ok(false));
        fs::write(folder.join("index.js"), "// of an older version").unwrap();
        fs::remove_file(folder.join("message.js")).unwrap();
        assert_eq!(write(&folder), Ok(true));
        assert_eq!(content(&folder), FILES.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&folder), 0o755);
            assert!(FILES.iter().all(|(name, _)| mode(&folder.join(name)) == 0o644));
        }
    }

    #[test]
    fn a_folder_with_anything_else_is_left_alone() {
        for (name, text, words) in [
            ("notes.txt", "mine", "\"notes.txt\""),
            ("package.json", "{}", "another plugin"),
            (MANIFEST, "{\"id\": \"other\"}", "another plugin"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let error = write(folder.path()).unwrap_err();
            assert!(error.contains(words) && error.contains("--dir"), "{name}: {error}");
            assert_eq!(content(folder.path()), [(name.to_owned(), text.to_owned())].into());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("index.js")).unwrap();
        assert!(write(folder.path()).unwrap_err().contains("index.js"));
        fs::remove_dir(folder.path().join("index.js")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(write(&folder.path().join("file")).unwrap_err().starts_with("cannot read"));
    }
}
