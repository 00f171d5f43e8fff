//! The end of a run: without faults, all must be settled and every outbox empty within a minute.

use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use processes::poll;

use super::traffic::{Endpoints, Traffic};
use crate::metrics::Metrics;

/// I4: every order is settled so soon after the last fault.
pub const WITHIN: Duration = Duration::from_secs(60);

/// What is still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Accepted orders that were not seen settled.
    pub open: usize,
    /// Orders that the order service has not settled.
    pub pending: u64,
    /// Events that the broker has not acknowledged, of both services.
    pub outbox: u64,
}

impl Display for Remaining {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { open, pending, outbox } = self;
        write!(f, "{open} accepted orders were not seen settled, {pending} orders are pending, ")?;
        write!(f, "{outbox} events wait in outboxes")
    }
}

/// Waits until nothing is under way. Returns how long that took, or what was left after [`WITHIN`].
pub async fn wait(traffic: &Traffic) -> Result<Duration, Remaining> {
    let start = Instant::now();
    let mut last = None;
    let ended = poll(WITHIN, Duration::from_millis(100), async || {
        last = look(traffic).await.ok();
        matches!(last, Some(Remaining { open: 0, pending: 0, outbox: 0 })).then(|| start.elapsed())
    });
    // A service that cannot be asked leaves everything open.
    let unknown = || Remaining { open: traffic.tally().pending(), pending: u64::MAX, outbox: u64::MAX };
    ended.await.ok_or_else(|| last.unwrap_or_else(unknown))
}

async fn look(traffic: &Traffic) -> Result<Remaining> {
    let Endpoints { order, inventory, .. } = &traffic.endpoints;
    let (order, inventory) = (Metrics::of(order).await?, Metrics::of(inventory).await?);
    let gauge = |metrics: &Metrics, name: &str| {
        metrics.gauge(name).with_context(|| format!("there is no metric {name}"))
    };
    let outbox = gauge(&order, "outbox_rows")? + gauge(&inventory, "outbox_rows")?;
    Ok(Remaining { open: traffic.tally().pending(), pending: gauge(&order, "orders_pending")?, outbox })
}
