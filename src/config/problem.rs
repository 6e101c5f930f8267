//! What is wrong with a configuration, and where.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// One error or warning about the configuration. Never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where the value stands.
    #[serde(flatten)]
    pub place: Place,
    /// Which setting it is, e.g. `intervals.watcherIdle`; empty if it is about the whole.
    pub path: String,
    /// What is wrong, and what to do: one line, lower case.
    pub message: String,
}

/// Where a configured value stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In the file.
    At {
        /// The file's name, as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The file as a whole.
    File {
        /// The file's name, as it was given.
        file: Arc<str>,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        variable: &'static str,
    },
    /// A command line flag.
    Flag {
        /// Its name, e.g. `--endpoint`.
        flag: &'static str,
    },
    /// No place: there is no file.
    Nowhere {},
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::File { file } => f.write_str(file),
            Self::Variable { variable } => f.write_str(variable),
            Self::Flag { flag } => f.write_str(flag),
            Self::Nowhere {} => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that was found wrong in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// What keeps the configuration from being used.
    pub errors: Vec<Problem>,
    /// What is odd but works.
    pub warnings: Vec<Problem>,
}

impl Problems {
    /// The problems in order of their place: file order, then environment, flags and what is missing.
    #[must_use]
    pub(super) fn sorted(mut self) -> Self {
        for list in [&mut self.errors, &mut self.warnings] {
            list.sort_by_key(|problem| match problem.place {
                Place::At { line, column, .. } => (0, line, column),
                Place::Variable { .. } => (1, 0, 0),
                Place::Flag { .. } => (2, 0, 0),
                Place::File { .. } | Place::Nowhere {} => (3, 0, 0),
            });
        }
        self
    }
}

/// One problem a line: `error: …`, then `warning: …`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|problem| ("error", problem));
        let warnings = self.warnings.iter().map(|problem| ("warning", problem));
        for (index, (severity, problem)) in errors.chain(warnings).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{severity}: {problem}")?;
        }
        Ok(())
    }
}
