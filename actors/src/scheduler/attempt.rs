//! One attempt at a receiver: what it means for the merge map, the schedule and the log.

use std::{sync::Arc, time::Duration};

use super::desk::Last;
use crate::{
    messages::Settlement,
    model::{
        document::Document,
        receiver::{Reached, ReceiverId},
        schedule::{Delivered, counted},
    },
    receivers::{DeliveryError, DeliveryErrorKind, Receipt},
    store::Outcome,
};

/// One attempt, as it ended.
pub(super) struct Attempt {
    pub(super) receiver: ReceiverId,
    pub(super) document: Arc<Document>,
    pub(super) result: Result<Receipt, DeliveryError>,
    pub(super) best_effort: bool,
    pub(super) took: Duration,
}

/// What an attempt means.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) settlement: Settlement,
    pub(super) delivered: Delivered,
    /// Whether the cooldown that began with the push goes on.
    pub(super) cools: bool,
    pub(super) detail: String,
}

impl Attempt {
    pub(super) fn judge(&self) -> Judged {
        let error = match &self.result {
            Ok(receipt) => {
                return Judged {
                    outcome: Outcome::Delivered,
                    settlement: Settlement::Ack,
                    delivered: Delivered::Yes,
                    cools: true,
                    detail: receipt.detail.clone(),
                };
            }
            Err(error) => error,
        };
        let maybe = error.reached == Reached::Maybe;
        let release = Settlement::Release(error.reached);
        let (outcome, settlement, delivered, cools) = match error.kind {
            DeliveryErrorKind::Skipped => (Outcome::Skipped, Settlement::Ack, Delivered::Skipped, false),
            // Best effort: the attempt was all that was promised.
            _ if self.best_effort => (Outcome::Failed, Settlement::Ack, Delivered::Yes, true),
            DeliveryErrorKind::Retry { after } => (Outcome::Failed, release, Delivered::Failed { after, maybe }, maybe),
            DeliveryErrorKind::Permanent => (Outcome::Refused, release, Delivered::Refused, false),
        };
        Judged { outcome, settlement, delivered, cools, detail: error.to_string() }
    }
}

/// Logs a delivery: every success, and failures when they begin or when the reason changes.
pub(super) fn log_delivery(attempt: &Attempt, judged: &Judged, previous: Option<&Last>) {
    let Attempt { receiver, document, .. } = attempt;
    let batch = document.envelope.batch_id;
    let changes = counted(document.changes.len(), "change");
    let detail = &judged.detail;
    if judged.outcome == Outcome::Delivered {
        log::info!("delivered {changes} to {receiver} ({detail}), batch {batch}");
        return;
    }
    if previous.is_some_and(|Last { delivery, .. }| delivery.outcome == judged.outcome && delivery.detail == *detail) {
        log::debug!("{receiver}: batch {batch}: {detail}");
        return;
    }
    match judged.outcome {
        Outcome::Skipped => log::warn!("{receiver} is skipped: {detail}"),
        Outcome::Refused => log::error!("{receiver} refuses batch {batch} for good: {detail}"),
        _ if attempt.best_effort => log::warn!("{receiver} failed, and is not repeated: {detail}"),
        _ => log::warn!("{receiver} failed, and will be tried again: {detail}"),
    }
}
