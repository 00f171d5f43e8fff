//! The end of a run: faults are off, and everything accepted must be settled and every outbox empty within a minute.

use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::traffic::{Endpoints, Traffic};
use crate::http::HttpClient;
use crate::metrics::Metrics;

/// I4: every order is settled so soon after the last fault.
pub const WITHIN: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        write!(
            f,
            "{open} accepted orders were not seen settled, {pending} orders are pending, {outbox} events wait in outboxes"
        )
    }
}

/// Waits until nothing is under way. Returns how long that took, or what was left after [`WITHIN`].
pub async fn wait(endpoints: &Endpoints, traffic: &Traffic) -> Result<Duration, Remaining> {
    let start = Instant::now();
    loop {
        let remaining = look(endpoints, traffic).await;
        match remaining {
            Ok(Remaining { open: 0, pending: 0, outbox: 0 }) => return Ok(start.elapsed()),
            Ok(remaining) if start.elapsed() > WITHIN => return Err(remaining),
            // A service that cannot be asked leaves everything open.
            Err(_) if start.elapsed() > WITHIN => {
                return Err(Remaining { open: traffic.pending(), pending: u64::MAX, outbox: u64::MAX });
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

async fn look(endpoints: &Endpoints, traffic: &Traffic) -> Result<Remaining> {
    let (order, inventory) = (metrics(&endpoints.order).await?, metrics(&endpoints.inventory).await?);
    let pending = gauge(&order, "orders_pending")?;
    let outbox = gauge(&order, "outbox_rows")? + gauge(&inventory, "outbox_rows")?;
    Ok(Remaining { open: traffic.pending(), pending, outbox })
}

async fn metrics(url: &str) -> Result<Metrics> {
    Metrics::read(&mut HttpClient::connect(url).await?).await
}

fn gauge(metrics: &Metrics, name: &str) -> Result<u64> {
    metrics.gauge(name).with_context(|| format!("there is no metric {name}"))
}
