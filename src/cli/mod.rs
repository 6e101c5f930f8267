//! The command line: one definition of all commands and flags, and what each comes to as an exit code.

mod check;
mod daemon;
mod doctor;
mod flush;
mod human;
mod init;
mod lists;
mod manual;
mod open;
mod openclaw;
mod orders;
mod output;
mod service;
mod state;
mod status;

use std::{error::Error, ffi::OsString, io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use ograph_dispatcher_actors::{
    clock::{Clock as _, SystemClock},
    model::time::Timestamp,
};

use self::{
    daemon::CallError,
    orders::Order,
    output::{Output, Screen},
};
use crate::{
    config::{Environment, Flags, LoadError, Loader, schema},
    run, sandbox,
};

/// What `--version` prints after the name.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("OGRAPH_DISPATCHER_BUILD"), ")");

const AFTER_HELP: &str = "\
Without a command it runs. A first look without any account: `ograph-dispatcher sandbox`.

Exit codes:
  0  done
  1  failed
  2  wrong usage or configuration
  3  no daemon is reachable
  4  the daemon refused: busy, or unauthorised";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No daemon is reachable.
    NoDaemon = 3,
    /// The daemon refused: busy, or unauthorised.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Tells an AI agent that its OGraph projections changed: once, and only when it has room to act.
#[derive(Debug, Parser)]
#[command(
    name = "ograph-dispatcher",
    version = VERSION,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watches, merges and pushes until it is told to stop (the default)
    Run(SettingsArgs),
    /// Checks the configuration and shows what is in force
    Check(check::CheckArgs),
    /// Writes a commented configuration to start from
    Init(init::InitArgs),
    /// Finds out what keeps it from working, and the remedy; delivers nothing
    Doctor(doctor::DoctorArgs),
    /// Shows the whole job on this machine alone, without configuration or account
    Sandbox(SandboxArgs),
    /// Shows how the daemon is, and why nothing is sent
    Status(status::StatusArgs),
    /// Lists the changes that receivers have still to be told
    Pending(lists::ListArgs),
    /// Lists the projections that are watched
    Projections(lists::ListArgs),
    /// Lists the last deliveries, newest first
    Deliveries(lists::DeliveriesArgs),
    /// Looks once, then tells everybody now, whatever availability and cooldown say
    Flush(flush::FlushArgs),
    /// Looks at every projection now
    Poll(orders::OrderArgs),
    /// Stops telling; watching and merging go on. Also after a restart
    Pause(orders::OrderArgs),
    /// Tells again
    Resume(orders::OrderArgs),
    /// Puts the configuration as it is now in force; a wrong one changes nothing
    Reload(orders::OrderArgs),
    /// Opens the status page in the browser; prints its address, token included, where there is none
    Open(open::OpenArgs),
    /// Keeps the daemon running: a systemd user unit, or a launchd agent
    Service(service::ServiceArgs),
    /// Connects OpenClaw: installs the plugin that this program carries
    #[command(name = "openclaw")]
    OpenClaw(openclaw::OpenClawArgs),
    /// Prints a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Prints a manual page, as `man -l -` reads it
    Man(manual::ManArgs),
    /// Checks, prints or compacts the store of a dispatcher that is not running
    State(state::StateArgs),
    /// Prints the JSON Schema of the configuration file
    #[command(hide = true)]
    Schema,
}

/// Settings that override environment and file. Secrets are never given here, only files that hold them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings (these override the environment, which overrides the file)")]
struct SettingsArgs {
    /// The configuration file [env: OGRAPH_CONFIG_FILE]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Base URL of the OGraph API [env: OGRAPH_ENDPOINT]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A file that holds the token of the OGraph API (the token itself: OGRAPH_TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// A projection to watch, `name` or `name?param=value`; may be repeated [env: OGRAPH_PROJECTIONS]
    #[arg(long, value_name = "NAME")]
    projection: Vec<String>,
    /// Where OpenClaw's free slots are read [env: OC_STATUS_ENDPOINT]
    #[arg(long, value_name = "URL")]
    status_endpoint: Option<String>,
    /// How many free slots a push needs [env: OC_MIN_AVAILABLE]
    #[arg(long, value_name = "N")]
    min_available: Option<String>,
    /// The dispatch file, or `off` [env: OGRAPH_DISPATCH_FILE]
    #[arg(long, value_name = "FILE")]
    dispatch_file: Option<String>,
    /// The folder of the store [env: OGRAPH_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Where the control server listens, or `off` [env: OGRAPH_CONTROL_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    control_listen: Option<String>,
    /// `text` or `json`; the level is set by RUST_LOG [env: OGRAPH_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl SettingsArgs {
    fn into_flags(self) -> Flags {
        Flags::new(self.config)
            .with("--endpoint", self.endpoint)
            .with("--token-file", self.token_file)
            .with("--projection", self.projection)
            .with("--status-endpoint", self.status_endpoint)
            .with("--min-available", self.min_available)
            .with("--dispatch-file", self.dispatch_file)
            .with("--state-dir", self.state_dir)
            .with("--control-listen", self.control_listen)
            .with("--log-format", self.log_format)
    }
}

/// How the sandbox plays.
#[derive(Clone, Debug, Args)]
pub struct SandboxArgs {
    /// Ends by itself after so many seconds, with a summary
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Help and version are errors to clap, too, with exit code 0. A closed pipe is nothing to report.
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let screen = Screen::of_process(&environment);
    let mut output = Output { out: &mut io::stdout(), err: &mut io::stderr(), screen };
    match dispatch(cli, environment, &mut output) {
        Ok(exit) => exit.into(),
        // Whoever reads has read enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Exit::Done.into()
        }
        Err(error) => {
            drop(writeln!(output.err, "error: {error}"));
            error.downcast_ref().map_or(Exit::Failed, |error: &CallError| error.exit).into()
        }
    }
}

fn dispatch(cli: Cli, environment: Environment, output: &mut Output<'_>) -> Result<Exit, Box<dyn Error>> {
    let flags = cli.settings.into_flags();
    match cli.command.unwrap_or_else(|| Command::Run(SettingsArgs::default())) {
        Command::Run(settings) => {
            let loader = Loader { environment, flags: flags.overlaid(settings.into_flags()) };
            match loader.load() {
                Ok(loaded) => {
                    run::run(&loader, &loaded)?;
                    Ok(Exit::Done)
                }
                Err(error) => refuse(&error, output),
            }
        }
        Command::Check(check) => check::check(check, flags, environment, output),
        Command::Init(init) => init::init(init, flags, environment, output),
        Command::Sandbox(args) => {
            if !flags.is_empty() {
                let error = "the sandbox has settings of its own; give it no flags before its name";
                drop(Cli::command().error(ErrorKind::ArgumentConflict, error).print());
                return Ok(Exit::Usage);
            }
            sandbox::run(args.seconds.map(Duration::from_secs), output.out)?;
            Ok(Exit::Done)
        }
        Command::Doctor(doctor) => doctor::doctor(doctor, flags, environment, output),
        Command::Status(status) => status::status(&status, flags, environment, output),
        Command::Pending(list) => lists::pending(&list, flags, environment, now(), output),
        Command::Projections(list) => lists::projections(&list, flags, environment, now(), output),
        Command::Deliveries(list) => lists::deliveries(&list, flags, environment, now(), output),
        Command::Flush(flush) => flush::flush(&flush, flags, environment, output),
        Command::Poll(args) => orders::order(Order::Poll, &args, flags, environment, output),
        Command::Pause(args) => orders::order(Order::Pause, &args, flags, environment, output),
        Command::Resume(args) => orders::order(Order::Resume, &args, flags, environment, output),
        Command::Reload(args) => orders::order(Order::Reload, &args, flags, environment, output),
        Command::Open(open) => open::open(&open, flags, environment, output),
        Command::Service(service) => service::service(service, flags, &environment, output),
        Command::OpenClaw(args) => openclaw::openclaw(args, &flags, &environment, output),
        Command::Completions(args) => Ok(manual::completions(&args, Cli::command(), output)?),
        Command::Man(args) => Ok(manual::man(&args, Cli::command(), output)?),
        Command::State(args) => state::state(&args, flags, environment, output),
        Command::Schema => {
            output.out.write_all(schema::text().as_bytes())?;
            Ok(Exit::Done)
        }
    }
}

/// What times are relative to.
fn now() -> Timestamp {
    SystemClock::new().now().wall
}

/// Says why there is no usable configuration.
fn refuse(error: &LoadError, output: &mut Output<'_>) -> Result<Exit, Box<dyn Error>> {
    writeln!(output.err, "{error}")?;
    Ok(Exit::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_may_stand_before_or_after_the_command() {
        let flags = |line: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(Command::Run(settings)) = cli.command else { return cli.settings.into_flags() };
            cli.settings.into_flags().overlaid(settings.into_flags())
        };
        let expected = flags("x --endpoint http://a --min-available 3");
        assert_eq!(flags("x run --endpoint http://a --min-available 3"), expected);
        assert_eq!(flags("x --endpoint http://a run --min-available 3"), expected);
        assert_eq!(flags("x --endpoint http://b run --endpoint http://a --min-available 3"), expected);
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let help = Cli::command().render_long_help().to_string();
        let long = help.split_whitespace().filter(|word| word.starts_with("--"));
        let settings: Vec<_> = long.filter(|flag| !["--help", "--version"].contains(flag)).collect();
        assert_eq!(settings.len(), 10, "{settings:?}");
        for flag in settings {
            let cli = Cli::try_parse_from(["x", flag, "1"]).unwrap();
            assert!(!cli.settings.into_flags().is_empty(), "{flag}");
        }
    }
}
