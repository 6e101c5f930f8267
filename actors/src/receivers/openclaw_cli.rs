//! The `openclaw` receiver: announces a batch through `openclaw message send`, as well as that goes.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use futures_util::future::{FutureExt, LocalBoxFuture};
use serde::Deserialize;

use super::{
    DeliveryError, Guarantee, Reached, Receipt, Receiver, ReceiverId,
    process::{self, Finished, Output, Program, RunError},
    text,
};
use crate::model::document::Document;

/// How the CLI is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClawOptions {
    /// The program: a name looked for in `PATH` at every push, or a path.
    pub bin: OsString,
    /// `--channel`; needed where several channels are configured.
    pub channel: Option<String>,
    /// `--target`: whom to tell. Without one there is nobody, and every push is skipped.
    pub target: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// The text, with `{count}`, `{names}`, `{file}` and `{batchId}`; a sentence with the first three if `None`.
    pub message: Option<String>,
    /// How long a call may take; it usually takes 7 to 14 s.
    pub timeout: Duration,
}

/// Sends a short text (names, counts, the path of the dispatch file) with the `openclaw` CLI.
///
/// Best effort, because the CLI's exit status does not tell: after a failure the message may have been queued, and
/// sending it again would duplicate it.
#[derive(Clone, Debug)]
pub struct OpenClawCli {
    id: ReceiverId,
    options: OpenClawOptions,
    dispatch_file: Option<PathBuf>,
}

impl OpenClawCli {
    /// The id of this receiver.
    pub const ID: &'static str = "openclaw";

    /// A receiver that calls the CLI; `dispatch_file` is where its text says the whole document can be read.
    #[must_use]
    pub fn new(options: OpenClawOptions, dispatch_file: Option<PathBuf>) -> Self {
        Self { id: ReceiverId::new(Self::ID), options, dispatch_file }
    }

    async fn send(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let target = self.options.target.as_deref().filter(|target| !target.is_empty());
        let target = target.ok_or_else(|| DeliveryError::skipped("push.openclaw.target is not set"))?;
        let argv = self.argv(target, document);
        let program = Program { argv: &argv, env: &[], stdin: None, timeout: self.options.timeout };
        match process::run(&program).await {
            Ok(finished) => outcome(&finished),
            Err(error @ (RunError::NoProgram | RunError::NotFound(_) | RunError::NotExecutable { .. })) => {
                Err(DeliveryError::skipped(format!("{error} (push.openclaw.bin)")))
            }
            Err(error) => {
                let reached = if error.was_started() { Reached::Maybe } else { Reached::No };
                Err(DeliveryError::retry(reached, error.to_string()))
            }
        }
    }

    fn argv(&self, target: &str, document: &Document) -> Vec<OsString> {
        let file = self.dispatch_file.as_deref();
        let text = text::announce(document, file, self.options.message.as_deref());
        let mut argv = vec![self.options.bin.clone(), "message".into(), "send".into()];
        option(&mut argv, "--target", target);
        option(&mut argv, "--message", &text);
        for (name, value) in [("--channel", &self.options.channel), ("--account", &self.options.account)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                option(&mut argv, name, value);
            }
        }
        argv.push("--json".into());
        argv
    }
}

/// Adds an option whose value can never be read as another option: OpenClaw looks for `-h` and `--version` among all
/// arguments before it parses them, so a value with a leading `-` must not stand alone.
fn option(argv: &mut Vec<OsString>, name: &str, value: &str) {
    if value.starts_with('-') {
        argv.push(format!("{name}={value}").into());
    } else {
        argv.extend([name.into(), value.into()]);
    }
}

/// What `--json` prints on stdout, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    ok: Option<bool>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    message: String,
}

fn outcome(Finished { status, output }: &Finished) -> Result<Receipt, DeliveryError> {
    let answer = answer(output);
    let refused = answer.as_ref().is_some_and(|answer| answer.ok == Some(false));
    if status.success() && !refused {
        return Ok(Receipt { detail: "sent by the openclaw CLI".to_owned() });
    }
    let words = answer
        .and_then(|answer| answer.error)
        .map_or_else(|| output.quoted(), |error| format!(": {}", text::last_words(error.message.as_bytes(), 300)));
    Err(DeliveryError::retry(Reached::Maybe, format!("openclaw message send failed: {status}{words}")))
}

/// The JSON object on stdout: all of it, or from the first line that begins with `{`, if others were printed before.
fn answer(output: &Output) -> Option<Answer> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let start = if stdout.starts_with('{') { 0 } else { stdout.find("\n{")? + 1 };
    serde_json::Deserializer::from_str(&stdout[start..]).into_iter().next()?.ok()
}

impl Receiver for OpenClawCli {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.send(document).boxed_local()
    }
}

#[cfg(all(test, unix))]
mod tests;
