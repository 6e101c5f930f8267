//! The room that the gateway tells of, as an [`Availability`]; alone, or where there is no status route.

use std::{cell::Cell, sync::Arc, time::Duration};

use futures_util::{
    future::{FutureExt as _, LocalBoxFuture},
    try_join,
};
use serde_json::json;

use super::{capacity::Reading, gateway::Gateway, status::StatusEndpoint};
use crate::{
    availability::{Availability, AvailabilityError, AvailabilityErrorKind},
    clock::Clock,
    model::availability::Free,
};

/// How long the gateway is asked before the status route is tried again.
const STAY: Duration = Duration::from_secs(5 * 60);

/// Free slots from the gateway itself: what is left of the lane in which agents run, less our own pushes that do not
/// show up yet. Needs no plugin.
///
/// Runs that hooks started are active sessions as well and count, although they take no slot of that lane: rather too
/// few than too many.
pub struct GatewayAvailability {
    gateway: Gateway,
    timeout: Duration,
}

impl GatewayAvailability {
    /// An availability; `timeout` is for one poll, connecting included.
    #[must_use]
    pub fn new(gateway: Gateway, timeout: Duration) -> Self {
        Self { gateway, timeout }
    }

    async fn ask(&self) -> Result<Free, AvailabilityError> {
        let lanes = self.gateway.call("diagnostics.lanes", json!({}), self.timeout);
        let sessions = self.gateway.call("sessions.list", json!({"activeOnly": true}), self.timeout);
        let (lanes, sessions) = try_join!(lanes, sessions)?;
        let reading = Reading::new(&lanes, &sessions).map_err(|missing| {
            let message = format!("{}: no free slots found: the answer lacks {missing}", self.gateway.origin());
            AvailabilityError::new(AvailabilityErrorKind::NotUnderstood, message)
        })?;
        Ok(Free::Slots(self.gateway.reservations().borrow_mut().free(&reading, self.gateway.now())))
    }
}

impl Availability for GatewayAvailability {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        self.ask().boxed_local()
    }
}

/// Asks the status route; where OpenClaw lacks it (404), the gateway, for five minutes before the route is tried again.
pub struct StatusOrGateway {
    status: StatusEndpoint,
    gateway: GatewayAvailability,
    clock: Arc<dyn Clock>,
    /// Until then only the gateway is asked.
    gateway_until: Cell<Option<Duration>>,
}

impl StatusOrGateway {
    /// An availability that prefers `status`.
    #[must_use]
    pub fn new(status: StatusEndpoint, gateway: GatewayAvailability, clock: Arc<dyn Clock>) -> Self {
        Self { status, gateway, clock, gateway_until: Cell::new(None) }
    }

    async fn ask(&self) -> Result<Free, AvailabilityError> {
        let now = self.clock.now().mono;
        if self.gateway_until.get().is_none_or(|until| until <= now) {
            match self.status.free().await {
                Err(error) if error.kind == AvailabilityErrorKind::NotFound => {
                    if self.gateway_until.replace(Some(now + STAY)).is_none() {
                        log::info!("{error}; asking the gateway instead");
                    }
                }
                answer => {
                    if answer.is_ok() && self.gateway_until.take().is_some() {
                        log::info!("OpenClaw has its status route again; asking it instead of the gateway");
                    }
                    return answer;
                }
            }
        }
        self.gateway.free().await
    }
}

impl Availability for StatusOrGateway {
    fn free(&self) -> LocalBoxFuture<'_, Result<Free, AvailabilityError>> {
        self.ask().boxed_local()
    }
}

#[cfg(test)]
mod tests;
