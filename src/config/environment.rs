//! What the configuration may know of the world around the process: variables and folders, as plain data.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use directories::BaseDirs;

/// Variables and folders. Everything that loads a configuration gets one, so that tests touch nothing real.
#[derive(Clone, Default)]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// The user's home folder, if it is known.
    pub home: Option<PathBuf>,
    /// The user's folder for configuration.
    pub config: Option<PathBuf>,
    /// The user's folder for state; the one for data where the system has none for state.
    pub state: Option<PathBuf>,
    /// The system's folder for temporary files.
    pub temp: PathBuf,
    /// The folder that relative paths on the command line start from.
    pub current: PathBuf,
}

impl Environment {
    /// The environment of this process, as it is now.
    #[must_use]
    pub fn of_process() -> Self {
        let folders = BaseDirs::new();
        Self {
            variables: std::env::vars_os().collect(),
            home: folders.as_ref().map(|dirs| dirs.home_dir().to_owned()),
            config: folders.as_ref().map(|dirs| dirs.config_dir().to_owned()),
            state: folders.as_ref().map(|dirs| dirs.state_dir().unwrap_or(dirs.data_local_dir()).to_owned()),
            temp: if cfg!(unix) { PathBuf::from("/tmp") } else { std::env::temp_dir() },
            current: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// The variable's value; `None` also for an empty one, which is how unset variables look in many service files.
    ///
    /// # Errors
    /// If the value is not UTF-8.
    pub fn variable(&self, name: &str) -> Result<Option<&str>, NotUtf8> {
        match self.variables.get(&OsString::from(name)) {
            Some(value) if !value.is_empty() => value.to_str().map(Some).ok_or(NotUtf8),
            _ => Ok(None),
        }
    }

    /// `path` with a leading `~` replaced by the home folder.
    #[must_use]
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), &self.home) {
            (Some(""), Some(home)) => home.clone(),
            (Some(rest), Some(home)) if rest.starts_with(std::path::is_separator) => home.join(&rest[1..]),
            _ => PathBuf::from(path),
        }
    }
}

/// A variable whose value is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not valid UTF-8")]
pub struct NotUtf8;

/// Names only: values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("variables", &self.variables.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder_only_at_the_start_and_alone() {
        let environment = Environment { home: Some("/home/ann".into()), ..Environment::default() };
        for (path, expanded) in
            [("~", "/home/ann"), ("~/x/y", "/home/ann/x/y"), ("~bob/x", "~bob/x"), ("/a/~/b", "/a/~/b"), ("x", "x")]
        {
            assert_eq!(environment.expand(path), PathBuf::from(expanded), "{path}");
        }
        assert_eq!(Environment::default().expand("~/x"), PathBuf::from("~/x"));
    }

    #[test]
    fn debug_output_shows_names_without_values() {
        let mut environment = Environment::default();
        environment.variables.insert("OGRAPH_TOKEN".into(), "hush".into());
        let shown = format!("{environment:?}");
        assert!(shown.contains("OGRAPH_TOKEN") && !shown.contains("hush"), "{shown}");
    }
}
