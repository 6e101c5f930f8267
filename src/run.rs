//! The daemon: what happens between a valid configuration and the end of the process.

use std::error::Error;

use crate::config::{Loaded, Loader};

/// Runs until it is told to stop. `loader` loads the configuration anew at a reload.
///
/// # Errors
/// If the daemon cannot start, or gives up.
pub fn run(_loader: &Loader, _loaded: &Loaded) -> Result<(), Box<dyn Error>> {
    Err("this build checks configurations, but does not run them yet".into())
}
