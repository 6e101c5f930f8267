//! What holds where nothing is set. Decoder and schema both read it here.

pub(super) const OGRAPH_TIMEOUT: u64 = 10_000;
pub(super) const OGRAPH_CONCURRENCY: u64 = 16;
pub(super) const OGRAPH_MAX_BODY_BYTES: u64 = 4 * 1024 * 1024;

pub(super) const OC_STATUS_ENDPOINT: &str = "http://localhost:18789/plugins/session-status/status";
pub(super) const OC_MIN_AVAILABLE: u64 = 2;
pub(super) const OC_TIMEOUT: u64 = 5_000;

pub(super) const WATCHER_IDLE: u64 = 30_000;
pub(super) const WATCHER_ACTIVE: u64 = 5_000;
pub(super) const SCHEDULER_IDLE: u64 = 60_000;
pub(super) const SCHEDULER_ACTIVE: u64 = 5_000;
pub(super) const COOLDOWN_AFTER_PUSH: u64 = 60_000;

pub(super) const ACTIVE_SCOPE: &str = "all";
pub(super) const FIRST_SEEN: &str = "baseline";

/// In the system's folder for temporary files.
pub(super) const DISPATCH_FILE: &str = "ograph-dispatch.json";
pub(super) const DISPATCH_FILE_MODE: u32 = 0o600;
pub(super) const OPENCLAW_ENABLED: bool = true;
pub(super) const OPENCLAW_BIN: &str = "openclaw";
pub(super) const OPENCLAW_TIMEOUT: u64 = 60_000;

/// For one attempt of an HTTP receiver.
pub(super) const AGENT_TIMEOUT: u64 = 10_000;
/// For one attempt at a hook: OpenClaw may take 15 s to admit a run.
pub(super) const HOOK_TIMEOUT: u64 = 20_000;
/// For one run of a command.
pub(super) const COMMAND_TIMEOUT: u64 = 60_000;

/// In the user's folder for state.
pub(super) const STATE_DIR: &str = "ograph-dispatcher";
pub(super) const CONTROL_LISTEN: &str = "127.0.0.1:18791";
pub(super) const LOG_FORMAT: &str = "text";

/// No interval and no timeout is longer than a day.
pub(super) const MAX_MILLIS: u64 = 24 * 60 * 60 * 1000;
pub(super) const MAX_CONCURRENCY: u64 = 1024;
pub(super) const MAX_BODY_BYTES: u64 = 1024 * 1024 * 1024;
pub(super) const MAX_MIN_AVAILABLE: u64 = 1_000_000;
