//! Placing a batch of orders: their rows, with their idempotency keys, and their events in one transaction.
//!
//! The batch is decided in memory, in the order of arrival, against the keys read inside the transaction. So
//! any number of requests with one key, in one batch or in many, make one order.

use std::collections::HashMap;

use shared::clock::{now_ms, ordered_id};
use shared::contract::status::Status;
use shared::delivery::outbox;
use shared::fail_point;
use shared::storage::commit_queue::{Batched, CommitError};
use shared::storage::{Tx, from_json, json};

use super::Order;

/// A key means the same order for this long, in milliseconds.
pub const KEY_LIFETIME_MS: i64 = 24 * 3600 * 1000;

/// A validated request for an order.
#[derive(Debug, Clone)]
pub struct NewOrder {
    pub user_id: String,
    pub product_id: String,
    pub quantity: i64,
    pub traceparent: String,
    /// 1–255 characters, unique for the caller while it lives.
    pub idempotency_key: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    Created(Order),
    /// The key had made this order before; the order as it is now.
    Replayed(Order),
    /// The key had made an order from another body. Nothing was stored.
    KeyReused,
}

/// Group commit: one transaction for all that wait at the same time.
impl Batched for NewOrder {
    type Outcome = Placed;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Placed>> {
        let placed = place(tx, batch, now_ms()).await?;
        fail_point::reach("orders: written, not committed");
        Ok(placed)
    }

    fn report(results: &[Result<Placed, CommitError>]) {
        fail_point::reach("orders: committed, not answered");
        let (mut created, mut decided) = (0, 0);
        for placed in results.iter().flatten() {
            decided += 1;
            if let Placed::Created(order) = placed {
                created += 1;
                tracing::debug!(order_id = order.id, "order created");
            }
        }
        metrics::counter!("orders_created_total").increment(created);
        // Of those that were not, the queue has told why.
        if decided > 0 {
            tracing::info!(created, requests = decided, "orders committed");
        }
    }
}

/// What a key means to a batch.
enum Meaning {
    /// The order that is stored with it.
    Stored(Order),
    /// The order of this batch with this place.
    New(usize),
}

/// Decides the batch and writes it. One result per request, in the same order.
pub async fn place(tx: &mut Tx, batch: &[NewOrder], now_ms: i64) -> sqlx::Result<Vec<Placed>> {
    let Known { mut keys, newest } = known(tx, batch, now_ms).await?;
    let (mut created, mut created_with) = (Vec::<Order>::new(), Vec::new());
    let mut decided = Vec::with_capacity(batch.len());
    for new in batch {
        let key = new.idempotency_key.as_deref().map(|key| (new.user_id.as_str(), key));
        let before = key.and_then(|key| keys.get(&key)).map(|meaning| match meaning {
            Meaning::Stored(order) => replay(order, new),
            Meaning::New(place) => replay(&created[*place], new),
        });
        if before.is_none() {
            keys.extend(key.map(|key| (key, Meaning::New(created.len()))));
            created.push(new.order(newest + 1 + created.len() as i64, now_ms));
            created_with.push(new.idempotency_key.as_deref());
        }
        decided.push(before);
    }
    insert(tx, &created, &created_with, now_ms).await?;
    let mut created = created.into_iter().map(Placed::Created);
    Ok(decided.into_iter().filter_map(|before| before.or_else(|| created.next())).collect())
}

impl NewOrder {
    fn order(&self, number: i64, now_ms: i64) -> Order {
        Order {
            number,
            id: ordered_id().to_string(),
            user_id: self.user_id.clone(),
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            status: Status::Created,
            reason: None,
            created_at: now_ms,
            decided_at: None,
            settled_at: None,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// The same body is the same product and quantity: the order itself is the record of its body.
fn replay(order: &Order, new: &NewOrder) -> Placed {
    if (&order.product_id, order.quantity) == (&new.product_id, new.quantity) {
        Placed::Replayed(order.clone())
    } else {
        Placed::KeyReused
    }
}

/// What the batch's keys, each with its user, mean before it, and the number of the newest status change.
struct Known<'a> {
    keys: HashMap<(&'a str, &'a str), Meaning>,
    newest: i64,
}

/// Reads the orders that the batch's keys have already made, as they are now. An expired key that was not purged yet
/// gives way.
async fn known<'a>(tx: &mut Tx, batch: &'a [NewOrder], now_ms: i64) -> sqlx::Result<Known<'a>> {
    let asked: Vec<(&str, &str)> = batch
        .iter()
        .filter_map(|new| Some((new.user_id.as_str(), new.idempotency_key.as_deref()?)))
        .collect();
    // One row: each that comes alone would wake whoever waits for it.
    let (newest, stored): (i64, String) = sqlx::query_as(
        "SELECT (SELECT number FROM newest_status_change), json_group_array(json_array(j.key, json_array(
             number, o.id, user_id, product_id, quantity, status, reason, created_at, decided_at, settled_at, traceparent)))
         FROM json_each($1) AS j
         JOIN orders AS o ON user_id = j.value ->> 0 AND idempotency_key = j.value ->> 1",
    )
    .bind(json(&asked))
    .fetch_one(&mut **tx)
    .await?;
    let stored: Vec<(usize, Order)> = from_json(&stored)?;
    let (live, expired): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|(_, order)| order.created_at > now_ms - KEY_LIFETIME_MS);
    let expired: Vec<i64> = expired.into_iter().map(|(_, order)| order.number).collect();
    forget_keys(tx, &expired).await?;
    let keys = live.into_iter().map(|(place, order)| (asked[place], Meaning::Stored(order))).collect();
    Ok(Known { keys, newest })
}

/// Stores the orders, each with its key, if it has one, and enqueues their events.
async fn insert(tx: &mut Tx, orders: &[Order], keys: &[Option<&str>], now_ms: i64) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let row = |(place, order)| {
        let Order { number, id, user_id, product_id, quantity, traceparent, .. }: &Order = order;
        (number, id, user_id, product_id, quantity, traceparent, keys[place])
    };
    let rows: Vec<_> = orders.iter().enumerate().map(row).collect();
    let events: Vec<_> = orders.iter().map(Order::announcement).collect();
    let insert =
        "INSERT INTO orders (number, id, user_id, product_id, quantity, traceparent, idempotency_key,
                                      status, created_at, sent_at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                'created', $4, $4
         FROM json_each($3)";
    outbox::enqueue_with(tx, &events, now_ms, insert, |statement| statement.bind(json(&rows)).bind(now_ms))
        .await
        .map(drop)
}

async fn forget_keys(tx: &mut Tx, numbers: &[i64]) -> sqlx::Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE orders SET idempotency_key = NULL WHERE number IN (SELECT value FROM json_each($1))")
        .bind(json(&numbers))
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Forgets up to `limit` expired keys. Returns how many; fewer are the last.
pub async fn purge_expired_keys(tx: &mut Tx, now_ms: i64, limit: i64) -> sqlx::Result<u64> {
    let purged = sqlx::query(
        "UPDATE orders SET idempotency_key = NULL WHERE number IN
             (SELECT number FROM orders WHERE idempotency_key IS NOT NULL AND created_at <= $1
              ORDER BY created_at LIMIT $2)",
    )
    .bind(now_ms - KEY_LIFETIME_MS)
    .bind(limit)
    .execute(&mut **tx)
    .await?;
    Ok(purged.rows_affected())
}
