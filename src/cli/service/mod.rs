//! `service`: the daemon as a service of the user, kept running by systemd or launchd.

mod launchd;
mod systemd;

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Exit, Output};
use crate::config::{Environment, Flags, Loader, Location};

/// The name under which service managers know the daemon.
const NAME: &str = "ograph-dispatcher";

#[derive(Debug, Args)]
pub(super) struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Writes the service's file to where the service manager looks for it, and says how to start it
    Install(InstallArgs),
    /// Prints what `install` would write
    Print(PrintArgs),
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Also starts the service, now and whenever the user logs in
    #[arg(long)]
    now: bool,
    /// Replaces a file that somebody has changed
    #[arg(long)]
    force: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// The configuration file, if it is not at its usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PrintArgs {
    /// For which service manager [default: that of this system]
    #[arg(long, value_name = "MANAGER")]
    kind: Option<Kind>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// The configuration file, if it is not at its usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The service managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A systemd user unit
    Systemd,
    /// A launchd agent
    Launchd,
}

/// What the service's file has to say.
#[derive(Clone, Debug)]
struct Plan {
    /// The program with its arguments.
    command: Vec<String>,
    /// Where programs are found.
    path: String,
    /// Where the user's own files are.
    home: String,
}

impl Kind {
    fn of_system() -> Option<Self> {
        match std::env::consts::OS {
            "linux" => Some(Self::Systemd),
            "macos" => Some(Self::Launchd),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Launchd => "launchd",
        }
    }

    fn text(self, plan: &Plan) -> String {
        match self {
            Self::Systemd => systemd::unit(plan),
            Self::Launchd => launchd::agent(plan),
        }
    }

    /// Where the service manager looks.
    fn file(self, environment: &Environment) -> Option<PathBuf> {
        match self {
            Self::Systemd => Some(environment.config.as_ref()?.join("systemd/user").join(systemd::FILE)),
            Self::Launchd => Some(environment.home.as_ref()?.join("Library/LaunchAgents").join(launchd::FILE)),
        }
    }

    /// What starts the service, now and later.
    fn start(self, file: &Path) -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Systemd => {
                vec![words("systemctl --user daemon-reload"), words(&format!("systemctl --user enable --now {NAME}"))]
            }
            Self::Launchd => {
                vec![
                    ["launchctl", "load", "-w"]
                        .map(str::to_owned)
                        .into_iter()
                        .chain([file.display().to_string()])
                        .collect(),
                ]
            }
        }
    }
}

impl Plan {
    /// This program as it is now, with the configuration that it finds now.
    fn new(flags: &Flags, environment: &Environment) -> Result<Self, String> {
        let utf8 = |path: PathBuf, what: &str| match path.into_os_string().into_string() {
            Ok(text) if !text.contains(char::is_control) => Ok(text),
            _ => Err(format!("the path of {what} cannot be written into a service's file")),
        };
        let program = std::env::current_exe().map_err(|error| format!("the program cannot find itself: {error}"))?;
        let mut command = vec![utf8(program, "the program")?];
        // A service has neither the user's variables nor the current folder.
        if let Ok(Location::Named(file, _)) = Location::find(flags, environment) {
            command.extend(["--config".to_owned(), utf8(file, "the configuration")?]);
        }
        command.push("run".to_owned());
        let home = environment.home.clone().ok_or("the home folder is unknown")?;
        let path = environment.variable("PATH").ok().flatten().unwrap_or("/usr/local/bin:/usr/bin:/bin");
        let is_usable = |entry: &&str| Path::new(entry).is_absolute() && !entry.contains(char::is_control);
        let path: Vec<_> = path.split(':').filter(is_usable).collect();
        Ok(Self { command, path: path.join(":"), home: utf8(home, "the home folder")? })
    }
}

/// Installs or prints.
pub(super) fn service(
    args: ServiceArgs,
    flags: Flags,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let config = match &args.command {
        ServiceCommand::Install(install) => install.config.clone(),
        ServiceCommand::Print(print) => print.config.clone(),
    };
    if !flags.is_config_alone() {
        writeln!(output.err, "error: a service takes its settings from the configuration file; give only --config")?;
        return Ok(Exit::Usage);
    }
    let flags = flags.overlaid(Flags::new(config));
    let plan = Plan::new(&flags, environment)?;
    match args.command {
        ServiceCommand::Print(PrintArgs { kind, json, .. }) => {
            let kind = kind.or_else(Kind::of_system).unwrap_or(Kind::Systemd);
            let text = kind.text(&plan);
            if json {
                output.json(&json!({"kind": kind.label(), "path": kind.file(environment), "text": text}))?;
            } else {
                output.out.write_all(text.as_bytes())?;
            }
            Ok(Exit::Done)
        }
        ServiceCommand::Install(install) => {
            let Some(kind) = Kind::of_system() else {
                let message = "services are installed for systemd and launchd alone; `service print` helps with others";
                return Err(message.into());
            };
            let file = kind.file(environment).ok_or("the home folder is unknown")?;
            warn_of_configuration(&flags, environment, output)?;
            install_file(&install, kind, &file, &kind.text(&plan), output)
        }
    }
}

/// A service does not see the user's variables: what is configured by them alone is missing then.
fn warn_of_configuration(flags: &Flags, environment: &Environment, output: &mut Output<'_>) -> io::Result<()> {
    let Ok(location) = Location::find(flags, environment) else { return Ok(()) };
    let flags = match location {
        Location::Named(file, _) => flags.clone().overlaid(Flags::new(Some(file))),
        Location::Found(_) | Location::Missing(_) => flags.clone(),
    };
    let environment = Environment { variables: Default::default(), ..environment.clone() };
    match (Loader { environment, flags }).load() {
        Ok(_) => Ok(()),
        Err(error) => writeln!(
            output.err,
            "warning: the service does not see your environment variables, and without them it will not start:\n{error}\n"
        ),
    }
}

fn install_file(
    args: &InstallArgs,
    kind: Kind,
    file: &Path,
    text: &str,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let there = match fs::read(file) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {}: {error}", file.display()).into()),
    };
    let is_new = there.as_deref() != Some(text.as_bytes());
    if is_new && there.is_some() && !args.force {
        writeln!(
            output.err,
            "error: {} is there already and different; --force replaces it, `service print` shows the new one",
            file.display()
        )?;
        return Ok(Exit::Failed);
    }
    if is_new {
        write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    let steps = kind.start(file);
    if args.now {
        for step in &steps {
            run(step)?;
        }
    }
    let steps: Vec<String> = steps.iter().map(|step| step.join(" ")).collect();
    if args.json {
        let next = if args.now { &[][..] } else { &steps };
        output.json(&json!({
            "kind": kind.label(), "path": file, "written": is_new, "started": args.now, "next": next,
        }))?;
        return Ok(Exit::Done);
    }
    let what = if is_new { "wrote" } else { "unchanged:" };
    output.line(format_args!("{what} {}", file.display()))?;
    if args.now {
        output.line("started; `ograph-dispatcher status` shows how it is")?;
    } else {
        output.line("\nto start it, now and whenever you log in:")?;
        for step in steps {
            output.line(format_args!("  {step}"))?;
        }
    }
    if kind == Kind::Systemd {
        output.line("to keep it running while you are logged out:\n  loginctl enable-linger")?;
    }
    Ok(Exit::Done)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::Builder::new().prefix(".service").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

fn run(step: &[String]) -> Result<(), String> {
    let shown = step.join(" ");
    let [program, arguments @ ..] = step else { return Ok(()) };
    let status =
        std::process::Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status}); the file is written, start it by hand")),
        Err(error) => Err(format!("`{shown}` cannot be run: {error}; the file is written, start it by hand")),
    }
}

#[cfg(test)]
mod tests;
