//! Another configuration while the daemon runs: by signal or by call, always in the same way.
//!
//! Everything that can fail comes first; then the new configuration is in force, or nothing has changed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use ograph_dispatcher_actors::{Handle, clock::Clock, messages::ControlError, model::time::Timestamp};

use crate::{
    assemble,
    config::{Config, LoadError, Loaded, Loader, Problem},
};

/// Reloads, one at a time.
pub(crate) struct Reloader {
    loader: Loader,
    clock: Arc<dyn Clock>,
    handle: Handle,
    /// Held while a reload is under way.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// What is known of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The file in force; `None` if environment and flags were enough.
    pub(crate) file: Option<PathBuf>,
    /// Since when it is in force.
    pub(crate) since: Timestamp,
    /// Why the last attempt to reload was refused, if it was.
    pub(crate) refused: Option<Refused>,
    /// As the process started with it: for what cannot be changed while it runs.
    started_with: Config,
}

/// A configuration that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// When.
    pub(crate) at: Timestamp,
    /// Every error, one a line.
    pub(crate) message: String,
}

/// What a reload did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloaded {
    /// What is odd about the configuration.
    pub(crate) warnings: Vec<Problem>,
    /// Settings that differ from those in force and need a restart.
    pub(crate) after_restart: Vec<&'static str>,
}

/// Why the configuration before stays in force.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] LoadError),
    /// No setup could be made of it.
    #[error("{0}")]
    Unusable(String),
    /// The dispatcher does not take it.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl Reloader {
    /// A reloader for a daemon that started with `loaded`.
    pub(crate) fn new(loader: Loader, loaded: &Loaded, clock: Arc<dyn Clock>, handle: Handle) -> Self {
        let known = Known {
            file: loaded.file.clone(),
            since: clock.now().wall,
            refused: None,
            started_with: loaded.config.clone(),
        };
        Self { loader, clock, handle, turn: tokio::sync::Mutex::new(()), known: Mutex::new(known) }
    }

    /// What is known of the configuration.
    pub(crate) fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the configuration anew and puts it in force. Logs, and tells every listener, what came of it.
    ///
    /// # Errors
    /// If it is not in force; then the one before still is.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.turn.lock().await;
        let result = self.attempt().await;
        let now = self.clock.now().wall;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok((_, file)) => {
                known.file.clone_from(file);
                known.since = now;
                known.refused = None;
                log::info!("the configuration is reloaded");
            }
            Err(error) => {
                let message = error.to_string();
                log::error!("the configuration is not reloaded, the one before stays in force:\n{message}");
                self.handle.reload_refused(message.clone());
                known.refused = Some(Refused { at: now, message });
            }
        }
        result.map(|(reloaded, _)| reloaded)
    }

    async fn attempt(&self) -> Result<(Reloaded, Option<PathBuf>), ReloadError> {
        let loader = self.loader.clone();
        let Loaded { config, warnings, file, .. } = actix_rt::task::spawn_blocking(move || loader.load())
            .await
            .map_err(|error| ReloadError::Unusable(format!("reading the configuration failed: {error}")))??;
        for warning in &warnings {
            log::warn!("{warning}");
        }
        let setup = assemble::setup(&config, &self.loader.environment, &self.clock)
            .map_err(|error| ReloadError::Unusable(error.to_string()))?;
        self.handle.reload(setup).await?;
        let after_restart = after_restart(&self.known().started_with, &config);
        for key in &after_restart {
            log::warn!("`{key}` has changed; that takes effect at the next start");
        }
        Ok((Reloaded { warnings, after_restart }, file))
    }
}

/// The settings that only a start takes over.
fn after_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("state.dir", old.state_dir == new.state_dir),
        ("control.listen", old.control.listen == new.control.listen),
        ("control.token", old.control.token == new.control.token),
        ("log.format", old.log_format == new.log_format),
        ("log.eventsFile", old.events_file == new.events_file),
    ]
    .into_iter()
    .filter_map(|(key, same)| (!same).then_some(key))
    .collect()
}
