//! `completions` and `man`: what shells and `man` want to know, made of the same definition as the command line.

use std::io;

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Exit, Output};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The page of one command instead of the whole
    command: Option<String>,
}

/// Writes a script for the shell to load.
pub(super) fn completions(args: &CompletionsArgs, mut program: Command, output: &mut Output<'_>) -> io::Result<Exit> {
    let name = program.get_name().to_owned();
    // Not right to the output: the generator panics where a pipe is closed.
    let mut script = Vec::new();
    generate(args.shell, &mut program, name, &mut script);
    output.out.write_all(&script)?;
    Ok(Exit::Done)
}

/// Writes a manual page.
pub(super) fn man(args: &ManArgs, mut program: Command, output: &mut Output<'_>) -> io::Result<Exit> {
    program.build();
    let page = match &args.command {
        None => program,
        Some(name) => match program.find_subcommand(name).filter(|command| !command.is_hide_set()) {
            // Its page bears the name under which `man` finds it.
            Some(command) => command.clone().name(format!("{}-{name}", program.get_name())),
            None => {
                writeln!(
                    output.err,
                    "error: there is no command {name:?}; `{} --help` lists them",
                    program.get_name()
                )?;
                return Ok(Exit::Usage);
            }
        },
    };
    Man::new(page).render(output.out)?;
    Ok(Exit::Done)
}
