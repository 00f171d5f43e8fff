//! Waits until the last accepted order is settled, and asks the order service itself whether that is so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use processes::poll;
use tokio::time::sleep;

use super::order::Order;
use super::tally::SharedTally;
use super::target::Load;
use crate::http::HttpClient;
use crate::metrics::Metrics;

/// Without any order settled for this long, the rest counts as unsettled.
const STANDSTILL: Duration = Duration::from_secs(60);

/// The service may tell a gauge again for a while, and settles the last order a little after its event.
const GAUGE: Duration = Duration::from_secs(15);

pub(super) struct End {
    /// When the order service showed the last order settled.
    pub(super) at: Instant,
    /// `orders_pending` of the order service; `None` if it has no such gauge.
    pub(super) pending: Option<u64>,
}

/// Waits for the end; it is an error only if the order service cannot be asked.
pub(super) async fn wait(load: &Load) -> Result<End> {
    wait_for_news(&load.tally, STANDSTILL).await;
    if let Some((id, user)) = load.tally.last_settled() {
        let mut client = HttpClient::connect(&load.target.order_url).await?;
        // The event is seen a little before the order service has stored it.
        let settled = Order::settled(&mut client, load.target.user(user)?, &id, STANDSTILL).await?;
        settled.with_context(|| {
            format!("the event of order {id} was seen, and the order service did not settle it")
        })?;
    }
    Ok(End { at: Instant::now(), pending: pending(load).await? })
}

impl Load {
    /// Waits until every accepted order was seen settled, or none for as long as `standstill`.
    /// Returns how many are open.
    pub async fn wait_until_settled(&self, standstill: Duration) -> usize {
        wait_for_news(&self.tally, standstill).await;
        let open = self.tally.pending();
        if open == 0 {
            // A service that goes away just now cannot say; what was seen settled was.
            let _ = pending(self).await;
        }
        open
    }
}

/// Waits until nothing is open, or nothing was settled for as long as `standstill`.
async fn wait_for_news(tally: &SharedTally, standstill: Duration) {
    let (mut settled, mut since) = (0, Instant::now());
    while tally.pending() > 0 && since.elapsed() <= standstill {
        let now_settled = tally.totals().settled;
        if now_settled != settled {
            (settled, since) = (now_settled, Instant::now());
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// `orders_pending` once it is 0, or what it still is.
async fn pending(load: &Load) -> Result<Option<u64>> {
    let mut last = None;
    let gone = poll(GAUGE, Duration::from_millis(100), async || {
        match Metrics::of(&load.target.order_url).await {
            Ok(metrics) => last = metrics.gauge("orders_pending"),
            Err(error) => return Some(Err(error)),
        }
        matches!(last, None | Some(0)).then_some(Ok(()))
    });
    gone.await.transpose()?;
    Ok(last)
}
