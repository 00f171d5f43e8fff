//! The callers: each sends an order, waits for the answer, and sends the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::LoadArgs;
use super::tally::{SharedTally, Status};
use super::watch;
use crate::http::HttpClient;

/// Pause after an answer other than 201, so that refusals do not become the load.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the first order may take until it is settled.
const WARM_UP: Duration = Duration::from_secs(20);

/// Where the orders go.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) authorization: String,
    bodies: Vec<Bytes>,
}

impl Target {
    pub(super) fn new(url: String, token: &str, products: &[String]) -> Self {
        let body = |product| Bytes::from(json!({"productId": product, "quantity": 1}).to_string());
        let url = url.trim_end_matches('/').to_owned();
        Self { url, authorization: format!("Bearer {token}"), bodies: products.iter().map(body).collect() }
    }
}

/// When to stop sending.
struct Limit {
    end: Option<Instant>,
    sent: AtomicU64,
    count: u64,
}

impl Limit {
    fn new(args: &LoadArgs) -> Self {
        let end = args.count.is_none().then(|| Instant::now() + args.duration);
        Self { end, sent: AtomicU64::new(0), count: args.count.unwrap_or(u64::MAX) }
    }

    /// The number of the next order, `None` when enough were sent.
    fn next(&self) -> Option<u64> {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then_some(number)
    }
}

/// Sends orders until the limit; returns when the last one is answered.
pub(super) async fn run(args: &LoadArgs, target: &Target, tally: &SharedTally) -> Result<()> {
    // The first connection tells a wrong URL from a service under stress.
    HttpClient::connect(&target.url).await?;
    let limit = Arc::new(Limit::new(args));
    tally.lock().started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..args.connections {
        workers.spawn(work(limit.clone(), target.clone(), tally.clone()));
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a connection's task failed")?;
    }
    let tally = tally.lock();
    ensure!(tally.accepted > 0, "no order was accepted; answers by status code: {:?}", tally.refused);
    Ok(())
}

/// Places one order that is not counted and waits for its end: a broker and consumers that are just starting are
/// not what a run should measure.
pub(super) async fn warm_up(target: &Target) -> Result<()> {
    let mut connection = None;
    let body = target.bodies.first().context("there is no product to order")?.clone();
    let Placed::Accepted(id) = place(&mut connection, target, body).await? else {
        bail!("the first order was refused");
    };
    let mut client = connection.context("the connection was lost")?;
    let settled = async {
        while watch::status(&mut client, target, &id).await? == Some(Status::Created) {
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    timeout(WARM_UP, settled).await.context("the first order was not settled in time")?
}

async fn work(limit: Arc<Limit>, target: Target, tally: SharedTally) {
    let mut connection = None;
    while let Some(number) = limit.next() {
        let body = target.bodies[number as usize % target.bodies.len()].clone();
        let sent = Instant::now();
        match place(&mut connection, &target, body).await {
            Ok(Placed::Accepted(id)) => tally.lock().accept(id, sent),
            Ok(Placed::Refused(status)) => {
                tally.lock().refuse(status.as_u16());
                sleep(PAUSE).await;
            }
            Err(_) => {
                connection = None;
                tally.lock().unknown += 1;
                sleep(PAUSE).await;
            }
        }
    }
}

enum Placed {
    Accepted(String),
    Refused(StatusCode),
}

#[derive(Deserialize)]
struct Order {
    id: String,
}

async fn place(connection: &mut Option<HttpClient>, target: &Target, body: Bytes) -> Result<Placed> {
    let client = match connection {
        Some(client) => client,
        None => connection.insert(HttpClient::connect(&target.url).await?),
    };
    let answer = client.post("/orders", &target.authorization, body).await?;
    if answer.status != StatusCode::CREATED {
        return Ok(Placed::Refused(answer.status));
    }
    let order: Order = serde_json::from_slice(&answer.body).context("a 201 without an order")?;
    Ok(Placed::Accepted(order.id))
}
