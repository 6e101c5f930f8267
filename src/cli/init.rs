//! `init`: a commented configuration to start from, at the right place, for its owner's eyes only.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    Exit, Output,
    openclaw::{Found, FoundGateway},
};
use crate::config::{Environment, Flags, LoadError, Loader, Location, Place};

/// The text, with a placeholder for everything that only the user knows.
const STARTER: &str = include_str!("starter.json");
const ENDPOINT: &str = "\"<https://your-ograph.example>\"";
const TOKEN: &str = "\"<your token>\"";
const PROJECTIONS: &str = "[\"<name of a projection>\"]";
const GATEWAY: &str =
    "// \"gateway\": {\"url\": \"ws://127.0.0.1:18789\", \"token\": {\"env\": \"OPENCLAW_GATEWAY_TOKEN\"}},";

const AGENTS: &str = "// \"agents\": [{\"type\": \"oc-gateway\", \"name\": \"agent\", \"url\": \"ws://127.0.0.1:18789\", \
     \"token\": {\"env\": \"OPENCLAW_GATEWAY_TOKEN\"}, \"mode\": \"agent\", \"sessionKey\": \"ograph\"}]";

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to write it, instead of the usual place
    #[arg(long, alias = "config", value_name = "FILE")]
    path: Option<PathBuf>,
    /// Replaces a file that is already there
    #[arg(long)]
    force: bool,
    /// Base URL of the OGraph API
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A file that holds the token of the OGraph API; it is referred to, not copied
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// A projection to watch, `name` or `name?param=value`; may be repeated
    #[arg(long, value_name = "NAME")]
    projection: Vec<String>,
    /// Copies the token of OpenClaw's gateway from openclaw.json, instead of referring to OPENCLAW_GATEWAY_TOKEN
    #[arg(long)]
    copy_openclaw_token: bool,
}

impl InitArgs {
    fn into_flags(self) -> Flags {
        Flags::new(self.path)
            .with("--endpoint", self.endpoint)
            .with("--token-file", self.token_file)
            .with("--projection", self.projection)
    }
}

/// Writes the file and says what to do next.
pub(super) fn init(
    args: InitArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let (force, copies_token) = (args.force, args.copy_openclaw_token);
    let flags = flags.overlaid(args.into_flags());

    let location = match Location::find(&flags, &environment) {
        Ok(location) => location,
        Err(problem) => {
            writeln!(output.err, "error: {problem}")?;
            return Ok(Exit::Usage);
        }
    };
    let path = location.path();
    let mut starter = Starter::new(&flags, &environment);
    let found = Found::look(&environment);
    if let Some(Found { gateway: Ok(gateway), .. }) = &found {
        starter.connect(gateway, copies_token);
    }
    let mut steps = Vec::new();
    if !starter.open.is_empty() {
        steps.push(format!("fill in {}", starter.open.join(", ")));
    }
    let about_openclaw = openclaw(found.as_ref(), copies_token, &environment, &mut steps);
    if let Err(errors) = starter.verify(path, environment) {
        writeln!(output.err, "{errors}")?;
        return Ok(Exit::Usage);
    }
    match write(path, &starter.text, force) {
        Ok(true) => {}
        Ok(false) => {
            writeln!(output.err, "error: {} already exists; --force replaces it", path.display())?;
            return Ok(Exit::Failed);
        }
        Err(error) => return Err(format!("cannot write {}: {error}", path.display()).into()),
    }
    let suffix = match location {
        Location::Named(..) => format!(" --config {}", path.display()),
        Location::Found(_) | Location::Missing(_) => String::new(),
    };
    steps.push(format!("ograph-dispatcher check{suffix}"));
    steps.push(format!("ograph-dispatcher run{suffix}"));
    writeln!(output.out, "wrote {}", path.display())?;
    for line in about_openclaw {
        writeln!(output.out, "{line}")?;
    }
    writeln!(output.out, "\nnext:")?;
    for (number, step) in (1..).zip(steps) {
        writeln!(output.out, "  {number}. {step}")?;
    }
    Ok(Exit::Done)
}

/// Says what was found of OpenClaw, and what was taken from it; adds what is left to do.
fn openclaw(
    found: Option<&Found>,
    copies_token: bool,
    environment: &Environment,
    steps: &mut Vec<String>,
) -> Vec<String> {
    let Some(Found { path, gateway }) = found else {
        return if copies_token {
            vec!["no openclaw.json was found, so no token was copied".to_owned()]
        } else {
            vec![]
        };
    };
    let path = path.display();
    let gateway = match gateway {
        Ok(gateway) => gateway,
        Err(why) => return vec![format!("found {path}, but {why}; set oc.gateway or oc.statusEndpoint yourself")],
    };
    let variable = &gateway.variable;
    let found = format!(
        "found OpenClaw: {path}; its gateway, {}, is asked for free slots\n\
         its agent is told, in the session `ograph`; without `agents` in the new file only the dispatch file is written",
        gateway.url
    );
    let token = match &gateway.literal {
        Some(_) if copies_token => return vec![found, format!("its token was COPIED from {path} into the new file")],
        Some(_) => format!("its token was not copied: the new file refers to {variable}"),
        None if copies_token => format!("{path} holds no token to copy; the new file refers to {variable}"),
        None => format!("the new file takes its token from {variable}, as OpenClaw does"),
    };
    if !matches!(environment.variable(variable), Ok(Some(_))) {
        let instead = if gateway.literal.is_some() { ", or use --copy-openclaw-token" } else { "" };
        steps.push(format!("set {variable} to OpenClaw's gateway.auth.token{instead}"));
    }
    vec![found, token]
}

/// The file to be written.
struct Starter {
    text: String,
    /// What was given, as the path of its setting; the token's file may come later.
    given: Vec<&'static str>,
    /// What still holds a placeholder.
    open: Vec<&'static str>,
}

impl Starter {
    fn new(flags: &Flags, environment: &Environment) -> Self {
        let token_file = flags.last("--token-file").map(|file| environment.current.join(environment.expand(file)));
        let projections = Some(flags.all("--projection")).filter(|names| !names.is_empty());
        let mut starter = Self { text: STARTER.to_owned(), given: Vec::new(), open: Vec::new() };
        starter.fill("ograph.endpoint", ENDPOINT, flags.last("--endpoint").map(|url| json!(url)));
        starter.fill("ograph.token", TOKEN, token_file.map(|file| json!({"file": file})));
        starter.fill("ograph.projections", PROJECTIONS, projections.map(|names| json!(names)));
        starter
    }

    fn fill(&mut self, path: &'static str, placeholder: &str, value: Option<serde_json::Value>) {
        match value {
            Some(value) => {
                self.text = self.text.replace(placeholder, &value.to_string());
                self.given.push(path);
            }
            None => self.open.push(path),
        }
    }

    /// Takes the gateway that was found for what is asked for free slots, and its agent for who is told.
    fn connect(&mut self, gateway: &FoundGateway, with_secret: bool) {
        let setting = gateway.setting(with_secret);
        let agent = json!([{
            "type": "oc-gateway", "name": "agent", "url": setting["url"], "token": setting["token"],
            "mode": "agent", "sessionKey": "ograph",
        }]);
        self.text = self.text.replacen(GATEWAY, &format!("\"gateway\": {setting},"), 1);
        self.text = self.text.replacen(AGENTS, &format!("\"agents\": {agent}"), 1);
    }

    /// Refuses to write what `check` would refuse, except for what is to be filled in.
    fn verify(&self, path: &Path, environment: Environment) -> Result<(), LoadError> {
        // What is written has to be right by itself.
        let environment = Environment { variables: BTreeMap::default(), ..environment };
        let loader = Loader { environment, flags: Flags::default() };
        let Err(LoadError::Invalid(mut problems)) = loader.load_bytes(path, self.text.as_bytes()) else {
            return Ok(());
        };
        let concerns = |path: &str| self.given.iter().any(|given| *given != "ograph.token" && path.starts_with(given));
        problems.errors.retain(|error| concerns(&error.path));
        problems.warnings.clear();
        // The place would be in a file that does not exist.
        problems.errors.iter_mut().for_each(|error| error.place = Place::Nowhere {});
        if problems.errors.is_empty() { Ok(()) } else { Err(LoadError::Invalid(problems)) }
    }
}

/// Writes the file in one step, readable by its owner alone. An existing one is replaced only by `force`; otherwise the
/// answer is `false`.
fn write(path: &Path, text: &str, force: bool) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_private(folder)?;
    let mut file = tempfile::Builder::new().prefix(".dispatcher").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match persisted {
        Ok(_) => Ok(true),
        Err(error) if !force && error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// Creates missing folders for their owner alone.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
