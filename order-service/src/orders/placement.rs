//! Placing a batch of orders: idempotency keys, order rows and outbox rows in one transaction.
//!
//! The batch is decided in memory, in the order of arrival, against the keys read inside the transaction. So
//! any number of requests with one key, in one batch or in many, make one order.

use std::collections::HashMap;

use shared::clock::now_ms;
use shared::contract::status::Status;
use shared::delivery::outbox;
use shared::fail_point;
use shared::storage::commit_queue::{Batched, CommitError};
use shared::storage::{Tx, json};
use sqlx::FromRow;
use uuid::Uuid;

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

type Key = (String, String);

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
        let mut created = 0;
        for placed in results.iter().flatten() {
            if let Placed::Created(order) = placed {
                created += 1;
                tracing::debug!(order_id = order.id, "order created");
            }
        }
        metrics::counter!("orders_created_total").increment(created);
        tracing::info!(created, requests = results.len(), "orders committed");
    }
}

/// Decides the batch and writes it. One result per request, in the same order.
pub async fn place(tx: &mut Tx, batch: &[NewOrder], now_ms: i64) -> sqlx::Result<Vec<Placed>> {
    let mut known = live_keys(tx, batch, now_ms).await?;
    let (mut created, mut keys) = (Vec::with_capacity(batch.len()), Vec::new());
    let mut decided = Vec::with_capacity(batch.len());
    for new in batch {
        let key = new.idempotency_key.as_ref().map(|key| (new.user_id.clone(), key.clone()));
        if let Some(order) = key.as_ref().and_then(|key| known.get(key)) {
            decided.push(Some(replay(order, new)));
            continue;
        }
        let order = new.order(now_ms);
        if let (Some(key), Some(text)) = (key, &new.idempotency_key) {
            known.insert(key, order.clone());
            keys.push((&new.user_id, text, order.id.clone()));
        }
        created.push(order);
        decided.push(None);
    }
    insert_orders(tx, &created, now_ms).await?;
    insert_keys(tx, &keys, now_ms).await?;
    let events: Vec<_> = created.iter().map(Order::announcement).collect();
    outbox::enqueue(tx, &events, now_ms).await?;
    let mut created = created.into_iter().map(Placed::Created);
    Ok(decided.into_iter().filter_map(|placed| placed.or_else(|| created.next())).collect())
}

impl NewOrder {
    fn order(&self, now_ms: i64) -> Order {
        Order {
            id: Uuid::now_v7().to_string(),
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

/// The orders that the batch's keys have already made, as they are now.
async fn live_keys(tx: &mut Tx, batch: &[NewOrder], now_ms: i64) -> sqlx::Result<HashMap<Key, Order>> {
    #[derive(FromRow)]
    struct Row {
        key: String,
        #[sqlx(flatten)]
        order: Order,
    }
    let keys: Vec<(&str, &str)> = batch
        .iter()
        .filter_map(|new| Some((new.user_id.as_str(), new.idempotency_key.as_deref()?)))
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT DISTINCT k.key, o.*
         FROM json_each($1) AS j
         JOIN idempotency_keys AS k ON k.user_id = j.value ->> 0 AND k.key = j.value ->> 1
         JOIN orders AS o ON o.id = k.order_id
         WHERE k.created_at > $2",
    )
    .bind(json(&keys))
    .bind(now_ms - KEY_LIFETIME_MS)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.order.user_id.clone(), row.key), row.order)).collect())
}

async fn insert_orders(tx: &mut Tx, orders: &[Order], now_ms: i64) -> sqlx::Result<()> {
    let rows: Vec<_> = orders
        .iter()
        .map(|order| (&order.id, &order.user_id, &order.product_id, order.quantity, &order.traceparent))
        .collect();
    sqlx::query(
        "INSERT INTO orders (id, user_id, product_id, quantity, traceparent, status, created_at, sent_at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, 'created', $2, $2
         FROM json_each($1)",
    )
    .bind(json(&rows))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// An expired key that was not purged yet gives way to its new order.
async fn insert_keys(tx: &mut Tx, keys: &[(&String, &String, String)], now_ms: i64) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO idempotency_keys (user_id, key, order_id, created_at)
         SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each($1) WHERE true
         ON CONFLICT (user_id, key) DO UPDATE SET order_id = excluded.order_id, created_at = excluded.created_at",
    )
    .bind(json(&keys))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Deletes up to `limit` expired keys.
pub async fn purge_expired_keys(tx: &mut Tx, now_ms: i64, limit: i64) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM idempotency_keys WHERE (user_id, key) IN
             (SELECT user_id, key FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT $2)",
    )
    .bind(now_ms - KEY_LIFETIME_MS)
    .bind(limit)
    .execute(&mut **tx)
    .await
    .map(drop)
}
