//! What several tests of the control server start from.

use ograph_dispatcher_actors::{model::receiver::ReceiverId, status::ReceiverStatus};

/// A receiver that has not been told anything.
pub(super) fn receiver(id: &str) -> ReceiverStatus {
    ReceiverStatus {
        receiver: ReceiverId::new(id),
        pending: 0,
        oldest_pending_at: None,
        last_delivery: None,
        failures: 0,
        failing_since: None,
        in_flight: false,
        cooling_until: None,
        next_retry_at: None,
    }
}
