//! Deciding a batch of orders: take stock or refuse, once per order.
//!
//! Decided in memory inside the transaction, one by one in the order of delivery: a batch may hold repeats,
//! conflicts, and several orders of one product, which one UPDATE gets wrong. Then one statement per table, in one trip.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};
use serde::Deserialize;
use shared::clock::now_ms;
use shared::contract::events::{Event, OrderCreated, OrderProcessed, Received};
use shared::contract::status::{Reason, Status};
use shared::delivery::handler::{EventHandler, Never, Outcome};
use shared::delivery::outbox;
use shared::storage::{Tx, from_json, json};

/// One row of the table `reservations`: a decided order, confirmed or cancelled.
#[derive(Debug, Clone, Deserialize)]
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
    let Known { mut decided, mut stock } = known(tx, orders).await?;
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
    write(tx, &new, &taken, &answers, now_ms).await?;
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

/// What is known before a batch: which of its orders are decided, by their ids, and what is left of its products.
struct Known {
    decided: HashMap<String, Reservation>,
    stock: HashMap<String, i64>,
}

async fn known(tx: &mut Tx, orders: &[Received<OrderCreated>]) -> sqlx::Result<Known> {
    let ids: Vec<&str> = orders.iter().map(|order| order.event.order_id.as_str()).collect();
    let products: BTreeSet<&str> = orders.iter().map(|order| order.event.product_id.as_str()).collect();
    // One row: each that comes alone would wake whoever waits for it.
    let (decided, stock): (String, String) = sqlx::query_as(
        "SELECT (SELECT json_group_array(json_array(
                     order_id, product_id, quantity, status, reason, decided_at, traceparent))
                 FROM reservations WHERE order_id IN (SELECT value FROM json_each($1))),
                (SELECT json_group_array(json_array(id, stock))
                 FROM products WHERE id IN (SELECT value FROM json_each($2)))",
    )
    .bind(json(&ids))
    .bind(json(&products))
    .fetch_one(&mut **tx)
    .await?;
    let decided = from_json::<Vec<Reservation>>(&decided)?.into_iter();
    let decided = decided.map(|before| (before.order_id.clone(), before)).collect();
    Ok(Known { decided, stock: from_json::<Vec<_>>(&stock)?.into_iter().collect() })
}

/// Stores the decisions, takes the sums off the shelf, and enqueues the answers. The schema refuses what would make stock
/// negative.
async fn write(
    tx: &mut Tx,
    new: &[Reservation],
    taken: &BTreeMap<&str, i64>,
    answers: &[Event],
    now_ms: i64,
) -> Result<()> {
    let row = |row| {
        let Reservation { order_id, product_id, quantity, status, reason, decided_at, traceparent }: &Reservation = row;
        (order_id, product_id, quantity, status, reason, decided_at, traceparent)
    };
    let (rows, sums): (Vec<_>, Vec<_>) = (new.iter().map(row).collect(), taken.iter().collect());
    let statements =
        "INSERT INTO reservations (order_id, product_id, quantity, status, reason, decided_at, traceparent)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
         FROM json_each($3);
         UPDATE products SET stock = stock - (j.value ->> 1)
         FROM json_each($4) AS j WHERE products.id = j.value ->> 0";
    let bind = |statement: outbox::Statement| statement.bind(json(&rows)).bind(json(&sums));
    let written = outbox::enqueue_with(tx, answers, now_ms, statements, bind).await?;
    let expected = new.len() + taken.len();
    ensure!(written == expected as u64, "wrote {written} rows instead of {expected}");
    Ok(())
}

fn conflict(before: &Reservation, order: &OrderCreated) -> Never {
    let detail = format!(
        "order {} was decided for {} of product {}, the repeat says {} of product {}",
        order.order_id, before.quantity, before.product_id, order.quantity, order.product_id
    );
    Never { reason: "conflicting_repeat", detail }
}
