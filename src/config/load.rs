//! From the disk to a loaded configuration.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    Config, Environment, Flags, Location, Place, Problem, Problems, Setting,
    decode::{decode, decode_state_dir},
    kinds::Scope,
    text::FileText,
};

/// A larger file is no configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Loads the configuration, as often as wanted: at the start and at every reload.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    /// The world around.
    pub environment: Environment,
    /// The command line.
    pub flags: Flags,
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd about it.
    pub warnings: Vec<Problem>,
    /// Every setting in force and where it comes from, nothing secret in it.
    pub settings: Vec<Setting>,
    /// The file that was read; `None` if environment and flags were enough.
    pub file: Option<PathBuf>,
}

/// Where the daemon keeps its state, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    /// The folder.
    pub path: PathBuf,
    /// Why the file could not be asked, if that may matter.
    pub problem: Option<Problem>,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Nobody has configured anything yet.
    #[error(
        "there is no configuration yet.\n\n  \
         it belongs here:   {}\n  \
         to create it:      ograph-dispatcher init\n  \
         to try without:    ograph-dispatcher sandbox\n\n\
         Instead of a file, OGRAPH_ENDPOINT, OGRAPH_TOKEN and OGRAPH_PROJECTIONS are enough.",
        .0.display()
    )]
    FirstRun(PathBuf),
    /// Something is wrong; at least one error.
    #[error("{0}")]
    Invalid(Problems),
}

impl LoadError {
    fn into_first(self) -> Option<Problem> {
        match self {
            Self::FirstRun(_) => None,
            Self::Invalid(problems) => problems.errors.into_iter().next(),
        }
    }

    fn one(place: Place, message: impl Into<String>) -> Self {
        let problem = Problem { place, path: String::new(), message: message.into() };
        Self::Invalid(Problems { errors: vec![problem], warnings: Vec::new() })
    }
}

impl Loader {
    /// Finds, reads and checks everything anew.
    ///
    /// # Errors
    /// If nothing is configured, or with all errors that were found.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let location = Location::find(&self.flags, &self.environment);
        let file = match location {
            Ok(Location::Named(path, place)) => Some(read(&path, &place)?),
            Ok(Location::Found(path)) => {
                let place = Place::File { file: path.to_string_lossy().into() };
                Some(read(&path, &place)?)
            }
            Ok(Location::Missing(path)) if !self.is_configured_without_file() => return Err(LoadError::FirstRun(path)),
            Err(problem) if !self.is_configured_without_file() => {
                return Err(LoadError::one(problem.place, problem.message));
            }
            Ok(Location::Missing(_)) | Err(_) => None,
        };
        let Some((path, bytes)) = file else { return self.decode(None, &[]).1 };
        let (literal_secret, mut loaded) = self.decode(Some(&path), &bytes);
        if literal_secret && others_can_read(&path) {
            let place = Place::File { file: path.to_string_lossy().into() };
            let message = format!("holds a token and can be read by others; run: chmod 600 {}", path.display());
            let warning = Problem { place, path: String::new(), message };
            match &mut loaded {
                Ok(loaded) => loaded.warnings.push(warning),
                Err(LoadError::Invalid(problems)) => problems.warnings.push(warning),
                Err(LoadError::FirstRun(_)) => {}
            }
        }
        loaded
    }

    /// The state folder alone: also where there is no configuration, or a broken one.
    ///
    /// # Errors
    /// If somebody named a file that cannot be read, or nobody named a folder and the user's home is unknown.
    pub fn state_dir(&self) -> Result<StateDir, LoadError> {
        let (file, mut problem) = match Location::find(&self.flags, &self.environment) {
            Ok(Location::Named(path, place)) => (Some(read(&path, &place)?), None),
            Ok(Location::Found(path)) => {
                let place = Place::File { file: path.to_string_lossy().into() };
                match read(&path, &place) {
                    Ok(file) => (Some(file), None),
                    Err(error) => (None, error.into_first()),
                }
            }
            Ok(Location::Missing(_)) | Err(_) => (None, None),
        };
        let (path, bytes) = file.map_or((None, Vec::new()), |(path, bytes)| (Some(path), bytes));
        let text = match path.as_ref().map(|path| FileText::new(&path.to_string_lossy(), &bytes)).transpose() {
            Ok(text) => text,
            Err(unreadable) => {
                problem = Some(unreadable);
                None
            }
        };
        let folder = path.as_deref().and_then(Path::parent).unwrap_or(&self.environment.current);
        let scope = Scope { environment: &self.environment, folder };
        let (state_dir, wrong) = decode_state_dir(text.as_ref(), scope, &self.flags);
        let problem = problem.or(wrong);
        let is_given = self.flags.last("--state-dir").is_some()
            || matches!(self.environment.variable("OGRAPH_STATE_DIR"), Ok(Some(_)));
        match (state_dir, problem) {
            // Whoever is nearer than the file has spoken.
            (Some(path), _) if is_given => Ok(StateDir { path, problem: None }),
            (Some(path), problem) => Ok(StateDir { path, problem }),
            (None, problem) => {
                Err(LoadError::Invalid(Problems { errors: problem.into_iter().collect(), warnings: Vec::new() }))
            }
        }
    }

    /// Checks the bytes of a file as if it were at `path`. The disk is asked only for the secrets it refers to.
    ///
    /// # Errors
    /// With all errors that were found.
    pub fn load_bytes(&self, path: &Path, bytes: &[u8]) -> Result<Loaded, LoadError> {
        self.decode(Some(path), bytes).1
    }

    /// Also says whether a secret stands in the file itself.
    fn decode(&self, path: Option<&Path>, bytes: &[u8]) -> (bool, Result<Loaded, LoadError>) {
        let text = match path.map(|path| FileText::new(&path.to_string_lossy(), bytes)).transpose() {
            Ok(text) => text,
            Err(problem) => return (false, Err(LoadError::one(problem.place, problem.message))),
        };
        let folder = path.and_then(Path::parent).unwrap_or(&self.environment.current);
        let scope = Scope { environment: &self.environment, folder };
        let (config, findings) = decode(text.as_ref(), scope, &self.flags);
        let loaded = match config {
            Some(config) => Ok(Loaded {
                config,
                warnings: findings.problems.warnings,
                settings: findings.settings,
                file: path.map(Path::to_owned),
            }),
            None => Err(LoadError::Invalid(findings.problems)),
        };
        (findings.literal_secret, loaded)
    }

    /// Whether environment or flags say at least something that a file would have to say.
    fn is_configured_without_file(&self) -> bool {
        let is_set = |name| !matches!(self.environment.variable(name), Ok(None));
        is_set("OGRAPH_ENDPOINT")
            || is_set("OGRAPH_TOKEN")
            || self.flags.last("--endpoint").is_some()
            || self.flags.last("--token-file").is_some()
    }
}

fn read(path: &Path, named_by: &Place) -> Result<(PathBuf, Vec<u8>), LoadError> {
    let unreadable = |error: io::Error| {
        let create = if error.kind() == io::ErrorKind::NotFound { "; `ograph-dispatcher init` creates it" } else { "" };
        LoadError::one(named_by.clone(), format!("cannot read {}: {error}{create}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LoadError::one(named_by.clone(), format!("{} is larger than {MAX_BYTES} bytes", path.display())));
    }
    Ok((path.to_owned(), bytes))
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}
