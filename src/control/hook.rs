//! OGraph's reaction webhook: whoever calls it has seen a change, so the next poll need not be waited for.

use std::sync::Arc;

use ograph_dispatcher_actors::Handle;
use tokio::sync::Notify;

/// Wishes for a poll. Any number of them that come while a poll is running are one more poll.
#[derive(Clone, Debug, Default)]
pub(super) struct PollWish(Arc<Notify>);

impl PollWish {
    /// Wishes for a poll.
    pub(super) fn wish(&self) {
        self.0.notify_one();
    }

    /// Polls when it is wished for, one poll at a time. Ends only when it is dropped.
    pub(super) async fn fulfil(self, handle: Handle) {
        loop {
            self.0.notified().await;
            if let Err(error) = handle.poll().await {
                log::debug!("the poll that a webhook asked for: {error}");
            }
        }
    }
}
