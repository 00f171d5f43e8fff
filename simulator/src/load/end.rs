//! Waits until the last accepted order is settled, and asks the order service itself whether that is so.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::tally::SharedTally;
use super::target::User;
use super::{Load, watch};
use crate::answers::Status;
use crate::http::HttpClient;
use crate::metrics::Metrics;

/// Without any order settled for this long, the rest counts as unsettled.
const STANDSTILL: Duration = Duration::from_secs(60);

/// The gauge may be as old as one of the service's ticks.
const GAUGE: Duration = Duration::from_secs(15);

/// How a run ended.
pub(super) struct End {
    /// When the order service showed the last order settled.
    pub(super) at: Instant,
    /// `orders_pending` of the order service; `None` if it has no such gauge.
    pub(super) pending: Option<u64>,
}

/// Waits for the end; it is an error only if the order service cannot be asked.
pub(super) async fn wait(load: &Load) -> Result<End> {
    wait_for_news(&load.tally, STANDSTILL).await;
    let mut client = HttpClient::connect(&load.target.order_url).await?;
    let last = load.tally.lock().last.clone();
    if let Some((id, user, _)) = last {
        wait_for_order(&mut client, load.target.user(user)?, &id).await?;
    }
    let at = Instant::now();
    Ok(End { at, pending: pending(&mut client).await? })
}

/// Waits for news until nothing is open, and then for the order service to have stored them. Returns how many are open.
pub(super) async fn wait_until_settled(load: &Load, standstill: Duration) -> u64 {
    wait_for_news(&load.tally, standstill).await;
    let open = load.tally.pending();
    if open == 0
        && let Ok(mut client) = HttpClient::connect(&load.target.order_url).await
    {
        // A service that goes away just now cannot say; what was seen settled was.
        let _ = pending(&mut client).await;
    }
    open
}

/// Waits until nothing is open, or nothing was settled for as long as `standstill`.
async fn wait_for_news(tally: &SharedTally, standstill: Duration) {
    let (mut settled, mut since) = (0, Instant::now());
    loop {
        let (now_settled, open) = {
            let tally = tally.lock();
            (tally.settled(), tally.open.len())
        };
        if now_settled != settled {
            (settled, since) = (now_settled, Instant::now());
        }
        if open == 0 || since.elapsed() > standstill {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// The event is seen a little before the order service has stored it.
async fn wait_for_order(client: &mut HttpClient, user: &User, id: &str) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < STANDSTILL {
        match watch::status(client, user, id).await? {
            Some(Status::Confirmed | Status::Cancelled) => return Ok(()),
            _ => sleep(Duration::from_millis(1)).await,
        }
    }
    bail!("the event of order {id} was seen, and the order service did not settle it")
}

async fn pending(client: &mut HttpClient) -> Result<Option<u64>> {
    let start = Instant::now();
    loop {
        let pending = Metrics::read(client).await?.gauge("orders_pending");
        if matches!(pending, None | Some(0)) || start.elapsed() > GAUGE {
            return Ok(pending);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
