//! Deciding a batch of orders: take stock or refuse, once per order.
//!
//! Decided in memory inside the transaction, one by one in the order of delivery: a batch may hold repeats,
//! conflicts, and several orders of one product, which one UPDATE gets wrong. Then one statement per table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};
use shared::clock::now_ms;
use shared::contract::events::{Event, OrderCreated, OrderProcessed, Received};
use shared::contract::status::{Reason, Status};
use shared::delivery::handler::{EventHandler, Never, Outcome};
use shared::delivery::outbox;
use shared::storage::{Tx, from_json, json};
use sqlx::FromRow;

/// One row of the table `reservations`: a decided order, confirmed or cancelled.
#[derive(Debug, Clone, FromRow)]
struct Reservation {
    order_id: String,
    product_id: String,
    quantity: i64,
    status: Status,
    reason: Option<Reason>,
    decided_at: i64,
    traceparent: String,
}

/// Decides announced orders.
#[derive(Clone, Copy)]
pub struct DecideOrders;

impl EventHandler for DecideOrders {
    type Event = OrderCreated;

    async fn handle(&self, tx: &mut Tx, orders: &[Received<OrderCreated>]) -> Result<Vec<Outcome>> {
        reserve(tx, orders, now_ms()).await
    }
}

/// Decides the batch and writes it, its answers included. One outcome per order, in the same order.
pub async fn reserve(tx: &mut Tx, orders: &[Received<OrderCreated>], now_ms: i64) -> Result<Vec<Outcome>> {
    let mut decided = decided_before(tx, orders).await?;
    let mut stock = stock_of(tx, orders).await?;
    let (mut new, mut taken, mut answers) = (Vec::new(), BTreeMap::<&str, i64>::new(), Vec::new());
    let mut outcomes = Vec::with_capacity(orders.len());
    for received @ Received { event: order, .. } in orders {
        if let Some(before) = decided.get(&order.order_id) {
            if (&before.product_id, before.quantity) == (&order.product_id, order.quantity) {
                answers.push(before.answer());
                outcomes.push(Outcome::Done("repeated"));
            } else {
                outcomes.push(Outcome::Never(conflict(before, order)));
            }
            continue;
        }
        let (status, reason) = decide(stock.get_mut(&order.product_id), order.quantity);
        if status == Status::Confirmed {
            *taken.entry(&order.product_id).or_default() += order.quantity;
        }
        let reservation = Reservation::new(received, status, reason, now_ms);
        answers.push(reservation.answer());
        decided.insert(order.order_id.clone(), reservation.clone());
        new.push(reservation);
        outcomes.push(Outcome::Done(status.as_str()));
    }
    insert(tx, &new).await?;
    take(tx, &taken).await?;
    outbox::enqueue(tx, &answers, now_ms).await?;
    for Reservation { order_id, status, .. } in new {
        tracing::debug!(order_id, status = status.as_str(), "order decided");
    }
    Ok(outcomes)
}

/// The rule: an order is confirmed when the product has at least its quantity left, which is then taken.
fn decide(stock: Option<&mut i64>, quantity: i64) -> (Status, Option<Reason>) {
    match stock {
        None => (Status::Cancelled, Some(Reason::UnknownProduct)),
        Some(left) if *left >= quantity => {
            *left -= quantity;
            (Status::Confirmed, None)
        }
        Some(_) => (Status::Cancelled, Some(Reason::InsufficientStock)),
    }
}

impl Reservation {
    fn new(
        Received { event: order, traceparent, .. }: &Received<OrderCreated>,
        status: Status,
        reason: Option<Reason>,
        now_ms: i64,
    ) -> Self {
        Self {
            order_id: order.order_id.clone(),
            product_id: order.product_id.clone(),
            quantity: order.quantity,
            status,
            reason,
            decided_at: now_ms,
            traceparent: traceparent.clone(),
        }
    }

    /// The stored answer; the same however often it is made.
    fn answer(&self) -> Event {
        let body =
            OrderProcessed { order_id: self.order_id.clone(), status: self.status, reason: self.reason };
        Event::new(&self.order_id, &body, self.decided_at, &self.traceparent)
    }
}

async fn decided_before(
    tx: &mut Tx,
    orders: &[Received<OrderCreated>],
) -> sqlx::Result<HashMap<String, Reservation>> {
    let ids: Vec<&str> = orders.iter().map(|order| order.event.order_id.as_str()).collect();
    let rows: Vec<Reservation> =
        sqlx::query_as("SELECT * FROM reservations WHERE order_id IN (SELECT value FROM json_each($1))")
            .bind(json(&ids))
            .fetch_all(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|row| (row.order_id.clone(), row)).collect())
}

async fn stock_of(tx: &mut Tx, orders: &[Received<OrderCreated>]) -> sqlx::Result<HashMap<String, i64>> {
    let ids: BTreeSet<&str> = orders.iter().map(|order| order.event.product_id.as_str()).collect();
    let rows: String = sqlx::query_scalar(
        "SELECT json_group_array(json_array(id, stock)) FROM products
         WHERE id IN (SELECT value FROM json_each($1))",
    )
    .bind(json(&ids))
    .fetch_one(&mut **tx)
    .await?;
    Ok(from_json::<Vec<_>>(&rows)?.into_iter().collect())
}

async fn insert(tx: &mut Tx, new: &[Reservation]) -> Result<()> {
    let rows: Vec<_> = new
        .iter()
        .map(|row| {
            let Reservation { order_id, product_id, quantity, status, reason, decided_at, traceparent } = row;
            (order_id, product_id, quantity, status, reason, decided_at, traceparent)
        })
        .collect();
    sqlx::query(
        "INSERT INTO reservations (order_id, product_id, quantity, status, reason, decided_at, traceparent)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
         FROM json_each($1)",
    )
    .bind(json(&rows))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the sums off the shelf. The schema refuses what would make stock negative.
async fn take(tx: &mut Tx, taken: &BTreeMap<&str, i64>) -> Result<()> {
    if taken.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = taken.iter().collect();
    let written = sqlx::query(
        "UPDATE products SET stock = stock - (j.value ->> 1)
         FROM json_each($1) AS j WHERE products.id = j.value ->> 0",
    )
    .bind(json(&rows))
    .execute(&mut **tx)
    .await?
    .rows_affected();
    ensure!(written == taken.len() as u64, "took stock of {written} products instead of {}", taken.len());
    Ok(())
}

fn conflict(before: &Reservation, order: &OrderCreated) -> Never {
    let detail = format!(
        "order {} was decided for {} of product {}, the repeat says {} of product {}",
        order.order_id, before.quantity, before.product_id, order.quantity, order.product_id
    );
    Never { reason: "conflicting_repeat", detail }
}
