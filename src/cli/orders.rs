//! `poll`, `pause`, `resume` and `reload`: orders that are carried out or not.

use std::error::Error;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Exit, Output,
    daemon::{Daemon, DaemonArgs, block_on, error_line},
};
use crate::config::{Environment, Flags};

#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// What may be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Poll,
    Pause,
    Resume,
    Reload,
}

impl Order {
    fn path(self) -> &'static str {
        match self {
            Self::Poll => "v1/poll",
            Self::Pause => "v1/pause",
            Self::Resume => "v1/resume",
            Self::Reload => "v1/reload",
        }
    }

    /// What is true when it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Poll => "polled every projection; `ograph-dispatcher pending` shows what is to be told",
            Self::Pause => {
                "paused: changes are noticed and merged, but nobody is told until `ograph-dispatcher resume`"
            }
            Self::Resume => "resumed: changes are pushed again when there is room",
            Self::Reload => "reloaded: the configuration as it is now is in force",
        }
    }
}

/// Gives an order and waits until it is carried out.
pub(super) fn order(
    order: Order,
    args: &OrderArgs,
    flags: Flags,
    environment: Environment,
    output: &mut Output<'_>,
) -> Result<Exit, Box<dyn Error>> {
    let answer =
        block_on(async { Daemon::find(&args.daemon, flags, environment)?.post(order.path(), &json!({})).await });
    let answer = output.answered(answer, args.json)?;
    if args.json {
        output.json(&answer)?;
    } else {
        output.line(order.done())?;
        for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            output.line(format_args!("warning: {}", error_line(warning)))?;
        }
    }
    Ok(Exit::Done)
}
