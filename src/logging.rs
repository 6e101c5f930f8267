//! The log: lines on standard error, as text or as JSON. Its level is set by `RUST_LOG`.

use std::io::Write as _;

use env_logger::{Env, Target};
use serde_json::json;

use crate::config::LogFormat;

/// Starts logging. Does nothing if a logger is there already.
pub(crate) fn init(format: LogFormat) {
    start(format, "info");
}

/// Starts logging for a command that tells its story itself: only errors, unless `RUST_LOG` wants more.
pub(crate) fn init_quiet() {
    start(LogFormat::Text, "error");
}

fn start(format: LogFormat, level: &str) {
    let mut builder = env_logger::Builder::from_env(Env::default().default_filter_or(level));
    builder.target(Target::Stderr);
    match format {
        LogFormat::Text => builder.format_timestamp_millis().format_target(false),
        LogFormat::Json => builder.format(|buffer, record| {
            let line = json!({
                "time": buffer.timestamp_millis().to_string(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(buffer, "{line}")
        }),
    };
    // An error only says that there is a logger.
    let _ = builder.try_init();
}
