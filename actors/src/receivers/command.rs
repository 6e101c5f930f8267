//! The `command` receiver: a program that reads the document on stdin; exit 0 means delivered.

use std::{ffi::OsString, time::Duration};

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{
    DeliveryError, Reached, Receipt, Receiver, ReceiverId,
    process::{self, Finished, Program},
    to_json,
};
use crate::model::document::Document;

/// Runs a program of the user's for every batch.
///
/// The program gets the document as one line of JSON on stdin, and the batch id in `OGRAPH_BATCH_ID`, by which it can
/// recognise a repetition; apart from that it inherits our environment. No shell is involved. At the timeout, and when
/// the delivery is given up, it is killed with its children. What it writes is shown, shortened, if it fails.
#[derive(Clone, Debug)]
pub struct Command {
    id: ReceiverId,
    argv: Vec<OsString>,
    timeout: Duration,
}

impl Command {
    /// A receiver that runs `argv` and gives it `timeout` to end.
    pub fn new(id: ReceiverId, argv: impl IntoIterator<Item = impl Into<OsString>>, timeout: Duration) -> Self {
        Self { id, argv: argv.into_iter().map(Into::into).collect(), timeout }
    }

    async fn run(&self, document: &Document) -> Result<Receipt, DeliveryError> {
        let mut input = to_json(document)?;
        input.push(b'\n');
        let program = Program {
            argv: &self.argv,
            env: &[("OGRAPH_BATCH_ID", document.envelope.batch_id.to_string())],
            stdin: Some(&input),
            timeout: self.timeout,
        };
        let Finished { status, output } = process::run(&program).await.map_err(|error| {
            let reached = if error.was_started() { Reached::Maybe } else { Reached::No };
            DeliveryError::retry(reached, error.to_string())
        })?;
        if status.success() {
            return Ok(Receipt { detail: "exit 0".to_owned() });
        }
        // Displayed by the standard library as `exit status: 3` or `signal: 9 (SIGKILL)`.
        Err(DeliveryError::retry(Reached::Maybe, format!("the command failed: {status}{}", output.quoted())))
    }
}

impl Receiver for Command {
    fn id(&self) -> &ReceiverId {
        &self.id
    }

    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>> {
        self.run(document).boxed_local()
    }
}

#[cfg(all(test, unix))]
mod tests;
