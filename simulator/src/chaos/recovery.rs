//! The end of a run: without faults, all must be settled and every outbox empty within a minute.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use processes::poll;

use super::traffic::{Endpoints, Traffic};
use crate::metrics::Metrics;

/// I4: every order is settled so soon after the last fault.
const WITHIN: Duration = Duration::from_secs(60);

/// Waits until nothing is under way. Returns how long that took, or tells what was left after [`WITHIN`].
pub async fn wait(traffic: &Traffic) -> Result<Duration, String> {
    let start = Instant::now();
    let mut last = None;
    let ended = poll(WITHIN, Duration::from_millis(100), async || {
        last = remaining(traffic).await.ok();
        (last == Some((0, 0, 0))).then(|| start.elapsed())
    });
    let ended = ended.await;
    // A service that cannot be asked leaves everything open.
    let (open, pending, outbox) = last.unwrap_or((traffic.tally().pending(), u64::MAX, u64::MAX));
    ended.ok_or_else(|| {
        format!(
            "{} s after the last fault {open} accepted orders were not seen settled, {pending} orders are pending, \
             {outbox} events wait in outboxes",
            WITHIN.as_secs()
        )
    })
}

/// Accepted orders not seen settled, orders that the order service has not settled, and events of both
/// services that the broker has not acknowledged.
async fn remaining(traffic: &Traffic) -> Result<(usize, u64, u64)> {
    let Endpoints { order, inventory, .. } = &traffic.endpoints;
    let (order, inventory) = (Metrics::of(order).await?, Metrics::of(inventory).await?);
    let gauge = |metrics: &Metrics, name: &str| {
        metrics.gauge(name).with_context(|| format!("there is no metric {name}"))
    };
    let outbox = gauge(&order, "outbox_rows")? + gauge(&inventory, "outbox_rows")?;
    Ok((traffic.tally().pending(), gauge(&order, "orders_pending")?, outbox))
}
