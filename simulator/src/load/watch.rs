//! Sees orders settled: by the events on NATS where we know the broker, else by asking the order service.
//!
//! An event costs a microsecond or two, a GET about as much as a POST: the second way slows the run that it watches.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::tally::{SharedTally, Status};
use super::workers::Target;
use crate::http::HttpClient;

/// Events that may wait in this process; beyond them the client would drop some.
const WAITING_EVENTS: usize = 1 << 20;

/// Connections that ask for orders.
const ASKERS: usize = 4;

/// Pause of a connection between two rounds.
const ROUND: Duration = Duration::from_millis(5);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Processed {
    order_id: String,
    status: Status,
}

/// Watches `order_processed` as the observer until the returned set is dropped.
pub(super) async fn by_events(nats_url: &str, tally: &SharedTally) -> Result<JoinSet<()>> {
    let options = async_nats::ConnectOptions::new().subscription_capacity(WAITING_EVENTS);
    let client = options.connect(nats_url).await.context("cannot watch the events")?;
    let mut events = client.subscribe("order_processed").await?;
    // A round trip: from here on no event is missed.
    client.flush().await?;
    let tally = tally.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(event) = events.next().await {
            let at = Instant::now();
            if let Ok(Processed { order_id, status }) = serde_json::from_slice(&event.payload) {
                tally.lock().settle(order_id, status, at);
            }
        }
    });
    Ok(tasks)
}

/// Asks for each open order again and again until the returned set is dropped.
pub(super) fn by_asking(target: &Target, tally: &SharedTally) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for share in 0..ASKERS {
        let (target, tally) = (target.clone(), tally.clone());
        tasks.spawn(async move {
            loop {
                // A lost connection: the orders stay open and the next round asks for them.
                let _ = ask_round(&target, &tally, share).await;
                sleep(ROUND).await;
            }
        });
    }
    tasks
}

/// Asks for every order that is open and belongs to this share, oldest first.
async fn ask_round(target: &Target, tally: &SharedTally, share: usize) -> Result<()> {
    let mut open: Vec<(Instant, String)> = tally
        .lock()
        .open
        .iter()
        .map(|(id, sent)| (*sent, id.clone()))
        .filter(|(_, id)| belongs(id, share))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    open.sort_unstable();
    let mut client = HttpClient::connect(&target.url).await?;
    for (_, id) in open {
        if let Some(status) = status(&mut client, target, &id).await? {
            tally.lock().settle(id, status, Instant::now());
        }
    }
    Ok(())
}

/// The order's status as the service tells it; `None` when it does not.
pub(super) async fn status(client: &mut HttpClient, target: &Target, id: &str) -> Result<Option<Status>> {
    #[derive(Deserialize)]
    struct Order {
        status: Status,
    }
    let answer = client.get(&format!("/orders/{id}"), Some(&target.authorization)).await?;
    Ok(serde_json::from_slice::<Order>(&answer.body).ok().map(|order| order.status))
}

/// The end of an id is random, and so spreads the orders evenly.
fn belongs(id: &str, share: usize) -> bool {
    usize::from(id.bytes().last().unwrap_or_default()) % ASKERS == share
}
