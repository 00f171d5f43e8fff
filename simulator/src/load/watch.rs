//! Sees orders settled: by the events on NATS where we know the broker, else by asking the order service.
//!
//! An event costs a microsecond or two, a GET about as much as a POST: asking slows the run that it watches.
//! Orders whose event was missed, as while the broker was away, are asked for once they have waited long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use processes::raw_nats::{RawConnection, RawMessage};
use serde::Deserialize;
use shared::contract::events::OrderProcessed;
use shared::contract::status::Status;
use shared::contract::subjects::ORDER_PROCESSED;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::order::Order;
use super::tally::Open;
use super::target::Load;
use crate::answers::{Line, Witness};
use crate::http::HttpClient;

/// Pause before a broker that is away is tried again: shorter than the services', so that no event is missed.
const RECONNECT: Duration = Duration::from_millis(20);

/// Connections that ask for orders when there are no events.
const ASKERS: usize = 4;

const ROUND: Duration = Duration::from_millis(5);

/// Beside events, an order is asked for once it has waited this long.
const OVERDUE: Duration = Duration::from_secs(3);

const OVERDUE_ROUND: Duration = Duration::from_secs(1);

/// Orders asked for in one round, oldest first.
const ROUND_LIMIT: usize = 2_000;

const STOCK_ROUND: Duration = Duration::from_millis(250);

pub struct Watch {
    _tasks: JoinSet<()>,
}

impl Load {
    /// Sees orders settled until the returned value is dropped, and reads the stock where it is recorded.
    /// Without `nats_url` by asking alone. The broker must be there now; later all may go and come back.
    pub async fn watch(&self, nats_url: Option<&str>) -> Result<Watch> {
        let mut tasks = JoinSet::new();
        match nats_url {
            Some(url) => {
                self.spawn_events(&mut tasks, url).await?;
                let overdue = Asker { share: 0, of: 1, overdue: OVERDUE, pause: OVERDUE_ROUND };
                tasks.spawn(ask(self.clone(), overdue));
            }
            None => {
                for share in 0..ASKERS {
                    let asker = Asker { share, of: ASKERS, overdue: Duration::ZERO, pause: ROUND };
                    tasks.spawn(ask(self.clone(), asker));
                }
            }
        }
        if self.recorder.is_some() && self.target.inventory_url.is_some() {
            tasks.spawn(record_stock(self.clone()));
        }
        Ok(Watch { _tasks: tasks })
    }

    /// The same by the events alone: nobody asks for an order whose event was missed.
    pub(crate) async fn watch_events(&self, nats_url: &str) -> Result<Watch> {
        let mut tasks = JoinSet::new();
        self.spawn_events(&mut tasks, nats_url).await?;
        Ok(Watch { _tasks: tasks })
    }

    /// Once it returns, no event is missed while the broker is there.
    async fn spawn_events(&self, tasks: &mut JoinSet<()>, url: &str) -> Result<()> {
        let events = subscribed(url).await.context("cannot watch the events")?;
        tasks.spawn(by_events(self.clone(), url.to_owned(), events));
        Ok(())
    }

    /// Counts and records a status; one that is not final says nothing.
    fn observe(&self, order_id: String, status: Status, by: Witness) {
        if status == Status::Created {
            return;
        }
        if let Some(recorder) = &self.recorder {
            recorder.write(&Line::Observed { order_id: order_id.clone(), status, by });
        }
        self.tally.lock().settle(order_id, status, Instant::now());
    }
}

/// Watches `order_processed` as the observer.
async fn by_events(load: Load, nats_url: String, mut events: RawConnection) {
    loop {
        while let Ok(event) = events.next_message().await {
            observe(&load, &event);
        }
        events = loop {
            match subscribed(&nats_url).await {
                Ok(events) => break events,
                Err(_) => sleep(RECONNECT).await,
            }
        };
    }
}

async fn subscribed(nats_url: &str) -> Result<RawConnection> {
    let mut connection = RawConnection::open(nats_url, "observer").await?;
    connection.subscribe(ORDER_PROCESSED).await?;
    Ok(connection)
}

/// An answer that somebody made by hand says nothing about what the inventory decided.
fn observe(load: &Load, event: &RawMessage) {
    let is_genuine = event.headers.windows(b"ce-source".len()).any(|name| name == b"ce-source");
    if is_genuine && let Ok(OrderProcessed { order_id, status, .. }) = serde_json::from_slice(&event.body) {
        load.observe(order_id, status, Witness::Event);
    }
}

/// One connection that asks for a share of the open orders.
#[derive(Debug, Clone, Copy)]
struct Asker {
    share: usize,
    of: usize,
    /// How long an order must have waited since its 201.
    overdue: Duration,
    pause: Duration,
}

async fn ask(load: Load, asker: Asker) {
    loop {
        // A lost connection: the orders stay open and the next round asks for them.
        let _ = ask_round(&load, asker).await;
        sleep(asker.pause).await;
    }
}

/// Asks for the orders that are open and belong to this share, oldest first.
async fn ask_round(load: &Load, asker: Asker) -> Result<()> {
    let wanted = |(id, open): (&String, &Open)| {
        // The end of an id is random, and so spreads the orders evenly.
        let share = usize::from(id.bytes().last().unwrap_or_default()) % asker.of;
        let asked = open.accepted.elapsed() >= asker.overdue && share == asker.share;
        asked.then(|| (open.due, id.clone(), open.user))
    };
    let mut open: Vec<_> = load.tally.lock().open.iter().filter_map(wanted).collect();
    if open.is_empty() {
        return Ok(());
    }
    open.sort_unstable();
    let mut client = load.target.connect().await?;
    for (_, id, user) in open.into_iter().take(ROUND_LIMIT) {
        if let Some(order) = Order::get(&mut client, load.target.user(user)?, &id).await? {
            load.observe(id, order.status, Witness::Order);
        }
    }
    Ok(())
}

/// Records every stock that was read and differs from the last one.
async fn record_stock(load: Load) {
    let mut last = HashMap::new();
    loop {
        // The service may be away; it is asked again.
        let _ = stock_round(&load, &mut last).await;
        sleep(STOCK_ROUND).await;
    }
}

async fn stock_round(load: &Load, last: &mut HashMap<String, i64>) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Product {
        product_id: String,
        stock: i64,
    }
    let (Some(url), Some(recorder)) = (&load.target.inventory_url, &load.recorder) else { return Ok(()) };
    let (mut client, mut page) = (HttpClient::connect(url).await?, Some("/inventory?limit=200".to_owned()));
    while let Some(path) = page {
        let answer = client.get(&path, None).await?;
        for Product { product_id, stock } in serde_json::from_slice::<Vec<Product>>(&answer.body)? {
            if last.insert(product_id.clone(), stock) != Some(stock) {
                recorder.write(&Line::Stock { product_id, stock });
            }
        }
        page = answer.next;
    }
    Ok(())
}
