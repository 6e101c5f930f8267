//! `openclaw`: our plugin for OpenClaw, put where OpenClaw finds it.

mod edit;
mod file;
mod found;
mod plugin;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;

pub(super) use self::found::{Found, FoundGateway};
use self::{edit::parse, file::OpenClawFile};

use super::{Exit, Output};
use crate::config::{Environment, Flags};

#[derive(Debug, Args)]
pub(super) struct OpenClawArgs {
    #[command(subcommand)]
    command: OpenClawCommand,
}

#[derive(Debug, Subcommand)]
enum OpenClawCommand {
    /// Writes the plugin that this program carries, and shows what openclaw.json needs for it
    InstallPlugin(InstallArgs),
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// The plugin's folder [default: `ograph/openclaw-plugin` in the user's folder for configuration]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also edits openclaw.json; its comments stay, and the old one is kept next to it
    #[arg(long)]
    apply: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Installs the plugin.
pub(super) fn openclaw(
    args: OpenClawArgs,
    flags: &Flags,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let OpenClawCommand::InstallPlugin(args) = args.command;
    if !flags.is_empty() {
        writeln!(output.err, "error: the plugin takes no settings; give no flags before `openclaw`")?;
        return Ok(Exit::Usage);
    }
    let folder = folder(args.dir, environment)?;
    let name = folder.to_str().filter(|name| !name.contains(char::is_control));
    let name = name.ok_or("the folder's name cannot be written into openclaw.json; name another with --dir")?;
    let is_written = plugin::write(&folder)?;
    let file = OpenClawFile::read(environment);
    // Without --apply it is only looked at, for warnings.
    let warnings = match &file {
        Ok(Some(file)) => warnings(file, name, environment),
        _ => Vec::new(),
    };
    let edited = args.apply.then(|| apply(file, name, environment));
    let result = Installed { folder: name, is_written, warnings, edited };
    if args.json {
        output.json(&result.json())?;
    } else {
        result.tell(environment, output)?;
    }
    match result.edited {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(Exit::Done),
    }
}

/// Where the plugin is written to. Not the folder of the state: OpenClaw does not start when a plugin's folder is gone,
/// and state is what one deletes to start afresh.
fn folder(dir: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, String> {
    let folder = match dir {
        Some(dir) => dir,
        None => {
            let config = environment.config.as_ref().ok_or("the home folder is unknown; name a folder with --dir")?;
            config.join("ograph/openclaw-plugin")
        }
    };
    // Without `.` at the end, so that the same folder has the same name the next time.
    Ok(environment.current.join(folder).components().collect())
}

/// What was done to `openclaw.json`.
struct Edited {
    path: PathBuf,
    /// The file that keeps the old text; `None` if nothing was missing.
    backup: Option<PathBuf>,
}

fn apply(
    file: Result<Option<OpenClawFile>, String>,
    folder: &str,
    environment: &Environment,
) -> Result<Edited, String> {
    let Some(file) = file? else {
        let place = OpenClawFile::place(environment).unwrap_or_else(|| "openclaw.json".into());
        return Err(format!(
            "there is no {}; set up OpenClaw first, or name its file with OPENCLAW_CONFIG_PATH",
            place.display()
        ));
    };
    let new = edit::add(&file.text, folder)
        .map_err(|error| format!("{} {error}; nothing in it was changed, add the part by hand", file.path.display()))?;
    let backup = new.map(|new| file.replace(&new)).transpose()?;
    Ok(Edited { path: file.path, backup })
}

fn warnings(file: &OpenClawFile, folder: &str, environment: &Environment) -> Vec<String> {
    let Ok(openclaw) = parse(&file.text) else { return Vec::new() };
    let mut warnings = edit::warnings(&openclaw);
    let other = edit::paths(&openclaw).find(|path| *path != folder && plugin::is_in(&environment.expand(path)));
    if let Some(other) = other {
        warnings.push(format!("plugins.load.paths names {other:?} as well, which holds this plugin too; remove one"));
    }
    warnings
}

/// What there is to tell.
struct Installed<'i> {
    folder: &'i str,
    is_written: bool,
    warnings: Vec<String>,
    edited: Option<Result<Edited, String>>,
}

impl Installed<'_> {
    fn json(&self) -> serde_json::Value {
        let edited = self.edited.as_ref().and_then(|edited| edited.as_ref().ok());
        let backup: Option<&Path> = edited.and_then(|edited| edited.backup.as_deref());
        json!({
            "id": plugin::ID, "folder": self.folder, "written": self.is_written, "add": edit::part(self.folder),
            "applied": edited.is_some(), "openclaw": edited.map(|edited| &edited.path), "backup": backup,
            "warnings": self.warnings,
        })
    }

    fn tell(&self, environment: &Environment, output: &mut Output<'_>) -> std::io::Result<()> {
        let what = if self.is_written { "wrote" } else { "unchanged:" };
        output.line(format_args!("{what} {}", self.folder))?;
        match &self.edited {
            Some(Ok(Edited { path, backup: Some(backup) })) => {
                output.line(format_args!("added to {}; the old one is {}", path.display(), backup.display()))?;
            }
            Some(Ok(Edited { path, backup: None })) => {
                output.line(format_args!("already there: {}", path.display()))?;
            }
            Some(Err(_)) | None => {
                let place = OpenClawFile::place(environment).unwrap_or_else(|| "openclaw.json".into());
                output.line(format_args!("\nto be added to {}:", place.display()))?;
                output.json(&edit::part(self.folder))?;
                if self.edited.is_none() {
                    output.line("`--apply` does it and keeps the old file")?;
                }
            }
        }
        for warning in &self.warnings {
            writeln!(output.err, "warning: {warning}")?;
        }
        let is_unchanged = matches!(self.edited, Some(Ok(Edited { backup: None, .. }))) && !self.is_written;
        if !is_unchanged {
            output.line("\nthen restart OpenClaw's gateway:\n  openclaw gateway restart")?;
        }
        Ok(())
    }
}
