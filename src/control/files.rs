//! The files by which other programs of the same user find the control server: `control.json` and `control.token`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use ograph_dispatcher_actors::secret::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

/// Keeps a generated token over restarts.
const TOKEN_FILE: &str = "control.token";
/// Says where the server is, while it runs.
const CONTROL_FILE: &str = "control.json";

/// A shorter token in the file was not written by us; a longer one is no token.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 16..=1024;

/// What `control.json` says.
#[derive(Debug, Deserialize, Serialize)]
struct Contact<'c> {
    pid: u32,
    url: &'c str,
    token: &'c str,
}

/// The token that is kept in `state_dir`, generated if there is none.
///
/// # Errors
/// If it can be neither read nor written, or there is no randomness.
pub(super) fn kept_token(state_dir: &Path) -> io::Result<Secret> {
    let path = state_dir.join(TOKEN_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if TOKEN_LENGTHS.contains(&text.trim().len()) => return Ok(Secret::new(text.trim())),
        Ok(_) => log::warn!("{} holds no token; another one is generated", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named(&path, &error)),
    }
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write(&path, token.as_bytes())?;
    Ok(Secret::new(token))
}

/// `control.json`, for as long as the server runs.
#[derive(Debug)]
pub(super) struct ControlFile {
    path: PathBuf,
}

impl ControlFile {
    /// Writes it, for its owner alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(state_dir: &Path, url: &str, token: &Secret) -> io::Result<Self> {
        let path = state_dir.join(CONTROL_FILE);
        let contact = Contact { pid: std::process::id(), url, token: token.expose() };
        write(&path, &serde_json::to_vec(&contact)?)?;
        Ok(Self { path })
    }

    /// Removes it. The lock on the state makes sure that it is ours.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Replaces a file as a whole. A temporary file is for its owner alone from the start.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let replace = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    replace().map(drop).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_generated_token_is_long_kept_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = kept_token(folder.path()).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(kept_token(folder.path()).unwrap(), first);
        #[cfg(unix)]
        assert_eq!(mode(&folder.path().join(TOKEN_FILE)), 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(kept_token(other.path()).unwrap(), first);
    }

    #[test]
    fn an_emptied_token_file_is_no_open_door() {
        let folder = tempfile::tempdir().unwrap();
        for spoiled in ["", "\n", "short"] {
            fs::write(folder.path().join(TOKEN_FILE), spoiled).unwrap();
            assert_eq!(kept_token(folder.path()).unwrap().expose().len(), 64, "{spoiled:?}");
        }
    }

    #[test]
    fn the_control_file_says_where_and_goes_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CONTROL_FILE);
        // One that somebody else left, with other permissions.
        fs::write(&path, "{}").unwrap();
        let file = ControlFile::write(folder.path(), "http://127.0.0.1:1", &Secret::new("t")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let contact: Contact<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!((contact.pid, contact.url, contact.token), (std::process::id(), "http://127.0.0.1:1", "t"));
        #[cfg(unix)]
        assert_eq!(mode(&path), 0o600);
        file.remove();
        assert!(!path.exists());
    }
}
