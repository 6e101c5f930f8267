//! The program: everything else is in the library beside it.

use std::process::ExitCode;

use ograph_dispatcher::{cli, config::Environment};

fn main() -> ExitCode {
    cli::main(std::env::args_os(), Environment::of_process())
}
