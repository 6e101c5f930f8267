//! Settings from the command line, which override both file and environment.

use std::{collections::BTreeMap, path::PathBuf};

/// Which flags were given, by their long name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the configuration file.
    pub(super) config: Option<PathBuf>,
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Flags {
    /// `--config`, if it was given, and nothing else.
    #[must_use]
    pub fn new(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Adds the values of one flag, e.g. `--endpoint`; none means that it was not given.
    #[must_use]
    pub fn with(mut self, flag: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        if !values.is_empty() {
            self.values.insert(flag, values);
        }
        self
    }

    /// These flags, and where both have one, that of `over`.
    #[must_use]
    pub fn overlaid(mut self, over: Self) -> Self {
        self.config = over.config.or(self.config);
        self.values.extend(over.values);
        self
    }

    /// Whether they say where a daemon keeps its state.
    pub(crate) fn name_a_daemon(&self) -> bool {
        self.config.is_some() || self.last("--state-dir").is_some()
    }

    /// Whether `--config` is the only flag, or none was given.
    pub(crate) fn is_config_alone(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether no flag was given at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.config.is_none() && self.values.is_empty()
    }

    /// Every value of a flag, in the order given.
    pub(crate) fn all(&self, flag: &str) -> &[String] {
        self.values.get(flag).map_or(&[], Vec::as_slice)
    }

    /// The value of a flag that is given once.
    pub(crate) fn last(&self, flag: &str) -> Option<&str> {
        self.all(flag).last().map(String::as_str)
    }
}
