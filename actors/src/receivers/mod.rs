//! Who is told: the [`Receiver`] trait, and one file per built-in receiver.

mod briefing;
mod command;
mod dispatch_file;
mod endpoint;
mod oc_gateway;
mod oc_hook;
mod oc_plugin;
mod openclaw_cli;
mod process;
#[cfg(all(test, unix))]
mod testing;
mod text;
mod webhook;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

pub use crate::model::receiver::{Reached, ReceiverId};

pub use self::{
    command::Command,
    dispatch_file::DispatchFile,
    oc_gateway::{GatewayAction, OcGateway},
    oc_hook::{HookAction, OcHook},
    oc_plugin::OcPlugin,
    openclaw_cli::{OpenClawCli, OpenClawOptions},
    webhook::{InvalidWebhookSecret, Webhook, WebhookSecret},
};

use crate::model::document::Document;

/// Delivers dispatch documents to one place.
///
/// # Guarantees given
/// - Never called twice at the same time for the same receiver; receivers never wait for each other.
/// - A repeated document has the same `batchId` and the same content, also after a crash.
///
/// # Guarantees asked
/// - `Ok` means that the receiver has the document.
/// - The future ends by itself and is cancel-safe: dropping it stops the attempt, and with it every child process.
///
/// A panic inside the future is caught and counts as a failed attempt of unknown outcome.
pub trait Receiver: 'static {
    /// Its stable name: what it was told is stored under this id.
    fn id(&self) -> &ReceiverId;

    /// Whether a failed delivery is tried again.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// Who recognises a repeated batch by its id, if other receivers deliver there as well. Of two receivers that name
    /// the same, the second would be taken for a repetition of the first: they never get the same `batchId`.
    fn recognised_by(&self) -> Option<&str> {
        None
    }

    /// Delivers `document`, once.
    fn deliver<'a>(&'a self, document: &'a Document) -> LocalBoxFuture<'a, Result<Receipt, DeliveryError>>;
}

/// What a receiver promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Tried again until it succeeds or is refused for good.
    AtLeastOnce,
    /// One attempt a batch, whatever comes of it: the outcome is shown, nothing is held back.
    BestEffort,
}

/// What a successful delivery has to say for the log, e.g. `204 No Content`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// One line, no secrets.
    pub detail: String,
}

/// Why a document was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    /// What to do about it.
    pub kind: DeliveryErrorKind,
    /// Whether the receiver may have the document all the same.
    pub reached: Reached,
    /// One line for people: lower case, no secrets, the same words for the same cause.
    pub message: String,
}

impl DeliveryError {
    /// A failure that is worth another try, whenever the backoff says.
    pub fn retry(reached: Reached, message: impl Into<String>) -> Self {
        Self { kind: DeliveryErrorKind::Retry { after: None }, reached, message: message.into() }
    }

    /// A refusal of this batch: it did not arrive, and trying again is of no use.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: DeliveryErrorKind::Permanent, reached: Reached::No, message: message.into() }
    }

    /// There is nothing to deliver to.
    pub fn skipped(message: impl Into<String>) -> Self {
        Self { kind: DeliveryErrorKind::Skipped, reached: Reached::No, message: message.into() }
    }
}

/// What recognises a batch that became a turn of an agent: OpenClaw itself, whoever brings it there, and for all agents
/// and sessions together. (Measured on 2026.9.6. There may be several OpenClaws, but under how many addresses each of
/// them is known cannot be told, and an id too many does no harm.)
const OPENCLAW_TURNS: &str = "openclaw turns";

/// The same for messages to chats.
const OPENCLAW_MESSAGES: &str = "openclaw messages";

/// A document as receivers send it. Nothing in one can fail to be written, but a panic would be the worse answer.
fn to_json(document: &impl Serialize) -> Result<Vec<u8>, DeliveryError> {
    serde_json::to_vec(document)
        .map_err(|error| DeliveryError::permanent(format!("the document cannot be written: {error}")))
}

/// What to do about a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryErrorKind {
    /// Try again with backoff, but not before `after`, if the receiver said so.
    Retry {
        /// The receiver's `Retry-After`.
        after: Option<Duration>,
    },
    /// The receiver refuses this batch for good: try again only when configuration or batch change.
    Permanent,
    /// There is nothing to deliver to (no program, no target). Only best-effort receivers say so.
    Skipped,
}
