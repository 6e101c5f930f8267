//! OpenClaw's own configuration: where it is, and replacing it so that nothing can be lost.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::config::Environment;

/// `openclaw.json` as it was read.
#[derive(Debug)]
pub(super) struct OpenClawFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl OpenClawFile {
    /// Where OpenClaw itself looks; `None` without a home folder.
    pub(super) fn place(environment: &Environment) -> Option<PathBuf> {
        let named = |name: &str| environment.variable(name).ok().flatten().map(|path| environment.expand(path));
        let path = named("OPENCLAW_CONFIG_PATH")
            .or_else(|| Some(named("OPENCLAW_STATE_DIR")?.join("openclaw.json")))
            .or_else(|| Some(environment.home.as_ref()?.join(".openclaw/openclaw.json")))?;
        Some(environment.current.join(path))
    }

    /// Reads it; `None` if there is none.
    ///
    /// # Errors
    /// In words that name the file.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, String> {
        let Some(path) = Self::place(environment) else { return Ok(None) };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Replaces the text in one step and keeps mode and owner; the old text stays in the file whose path is returned.
    ///
    /// # Errors
    /// If the file was changed since it was read, or cannot be replaced; then it is what it was.
    pub(super) fn replace(&self, text: &str) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("cannot replace {}: {error}", self.path.display());
        // Of a link the target is replaced, so that it stays a link.
        let path = self.path.canonicalize().map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let metadata = path.metadata().map_err(failed)?;
        let prepare = |text: &str| {
            let mut file = tempfile::Builder::new().prefix(".openclaw").tempfile_in(folder)?;
            file.write_all(text.as_bytes())?;
            keep_owner(&metadata, &file.as_file().metadata()?)?;
            file.as_file().set_permissions(metadata.permissions())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let new = prepare(text).map_err(failed)?;
        let mut old = prepare(&self.text).map_err(failed)?;
        if fs::read(&path).map_err(failed)? != self.text.as_bytes() {
            return Err(format!("{} was changed just now; try again", self.path.display()));
        }
        let mut number = 1_u32;
        let backup = loop {
            let mut name = path.clone().into_os_string();
            name.push(format!(".bak-{number}"));
            let backup = PathBuf::from(name);
            match old.persist_noclobber(&backup) {
                Ok(_) => break backup,
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => old = error.file,
                Err(error) => return Err(failed(error.error)),
            }
            number += 1;
        };
        new.persist(&path).map_err(|error| failed(error.error))?;
        Ok(backup)
    }
}

/// Refuses to make a file of ours from one of somebody else, who could not read it any more.
#[cfg(unix)]
fn keep_owner(old: &fs::Metadata, new: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    if old.uid() == new.uid() {
        return Ok(());
    }
    Err(io::Error::other("it belongs to another user; do this as that user"))
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::Metadata, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, text: &str) -> OpenClawFile {
        let path = folder.join("openclaw.json");
        fs::write(&path, text).unwrap();
        OpenClawFile { path, text: text.to_owned() }
    }

    #[test]
    fn it_is_looked_for_where_openclaw_does() {
        let place = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let (home, current) = (Some("/home/ann".into()), "/here".into());
            OpenClawFile::place(&Environment { variables, home, current, ..Environment::default() }).unwrap()
        };
        assert_eq!(place(&[]), Path::new("/home/ann/.openclaw/openclaw.json"));
        let state = ("OPENCLAW_STATE_DIR", "~/state");
        assert_eq!(place(&[state]), Path::new("/home/ann/state/openclaw.json"));
        assert_eq!(place(&[state, ("OPENCLAW_CONFIG_PATH", "a.json5")]), Path::new("/here/a.json5"));
        assert_eq!(place(&[state, ("OPENCLAW_CONFIG_PATH", "")]), Path::new("/home/ann/state/openclaw.json"));
        assert_eq!(OpenClawFile::place(&Environment::default()), None);
    }

    #[test]
    fn every_old_text_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = file(folder.path(), "1").replace("2").unwrap();
        let second = file(folder.path(), "2").replace("3").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&first), read(&second)), ("1".to_owned(), "2".to_owned()));
        assert!(second.ends_with("openclaw.json.bak-2"), "{second:?}");
        assert_eq!(read(&folder.path().join("openclaw.json")), "3");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left behind");
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let stale = file(folder.path(), "1");
        file(folder.path(), "another's");
        let error = stale.replace("2").unwrap_err();
        assert!(error.ends_with("was changed just now; try again"), "{error}");
        assert_eq!(fs::read_to_string(&stale.path).unwrap(), "another's");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn mode_and_link_are_kept() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "1").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        let path = folder.path().join("openclaw.json");
        symlink(&target, &path).unwrap();
        let backup = OpenClawFile { path: path.clone(), text: "1".to_owned() }.replace("2").unwrap();
        assert!(path.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "2");
        for file in [&target, &backup] {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640, "{file:?}");
        }
    }
}
