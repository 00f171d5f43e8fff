//! Orders: the rules and the SQL, free of HTTP and NATS.
//!
//! [`placement`] decides a batch of new orders, [`settlement`] applies the inventory's answers, [`pending`]
//! sends again what got none. [`list`] reads pages of orders. [`status_changes`] reads what happened to them,
//! and [`feed`] hands out new changes.

pub mod feed;
pub mod list;
pub mod pending;
pub mod placement;
#[cfg(test)]
mod plans;
pub mod settlement;
pub mod status_changes;

use serde::Deserialize;
use shared::clock::rfc3339;
use shared::contract::events::{Event, OrderCreated};
use shared::contract::status::{Reason, Status};
use shared::from_row;
use sqlx::SqlitePool;

/// One row of the table `orders`, without what only [`pending`] and [`status_changes`] ask for. As JSON it is an array of
/// these fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Its place in the order of arrival.
    pub number: i64,
    /// A UUID v7.
    pub id: String,
    pub user_id: String,
    pub product_id: String,
    pub quantity: i64,
    pub status: Status,
    /// Present exactly when cancelled.
    pub reason: Option<Reason>,
    /// Unix milliseconds, as all times here.
    pub created_at: i64,
    /// When the inventory decided, by its own clock; absent when it did not say.
    pub decided_at: Option<i64>,
    /// Present exactly when settled.
    pub settled_at: Option<i64>,
    /// The trace of the POST.
    pub traceparent: String,
}

from_row!(Order {
    number,
    id,
    user_id,
    product_id,
    quantity,
    status,
    reason,
    created_at,
    decided_at,
    settled_at,
    traceparent
});

impl Order {
    /// Whether the order has its final status.
    pub fn is_settled(&self) -> bool {
        self.settled_at.is_some()
    }

    /// The event that announces the order; the same however often it is made.
    fn announcement(&self) -> Event {
        let body = OrderCreated {
            order_id: self.id.clone(),
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            status: Status::Created,
            user_id: self.user_id.clone(),
            created_at: rfc3339(self.created_at),
        };
        Event::new(&self.id, &body, self.created_at, &self.traceparent)
    }
}

/// The order with this id; `None` when it is unknown or not `owner`'s, which nobody can tell apart. Without
/// an `owner` it may be anybody's.
pub async fn find_of(reader: &SqlitePool, owner: Option<&str>, id: &str) -> sqlx::Result<Option<Order>> {
    sqlx::query_as("SELECT * FROM orders WHERE id = $1 AND ($2 IS NULL OR user_id = $2)")
        .bind(id)
        .bind(owner)
        .fetch_optional(reader)
        .await
}
