//! Orders: the rules and the SQL, free of HTTP and NATS.
//!
//! [`placement`] decides a batch of new orders, [`commit_queue`] groups concurrent ones into one transaction,
//! [`settlement`] applies the inventory's answers, [`pending`] sends again what got none.

pub mod commit_queue;
pub mod pending;
pub mod placement;
pub mod settlement;

use serde::Serialize;
use shared::events::{self, Event, OrderCreated};
use sqlx::{FromRow, SqlitePool};
use utoipa::ToSchema;

/// How many orders a list holds at most.
const LIST_LIMIT: i64 = 50;

/// One row of the table `orders`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Order {
    /// A UUID v7.
    pub id: String,
    /// The `sub` of the token that placed it.
    pub user_id: String,
    /// 1–64 characters.
    pub product_id: String,
    /// 1–1,000,000.
    pub quantity: i64,
    /// `created`, `confirmed` or `cancelled`.
    pub status: String,
    /// Present exactly when cancelled.
    pub reason: Option<String>,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds; present exactly when settled.
    pub settled_at: Option<i64>,
    /// The trace of the POST.
    pub traceparent: String,
}

/// An order as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub struct OrderView {
    id: String,
    product_id: String,
    quantity: i64,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    settled_at: Option<String>,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            product_id: order.product_id,
            quantity: order.quantity,
            status: order.status,
            reason: order.reason,
            created_at: events::rfc3339(order.created_at),
            settled_at: order.settled_at.map(events::rfc3339),
        }
    }
}

impl OrderView {
    /// The order's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Order {
    /// The event that announces the order; the same however often it is made.
    fn announcement(&self) -> Event {
        let body = OrderCreated {
            order_id: self.id.clone(),
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            status: "created".to_owned(),
            user_id: self.user_id.clone(),
            created_at: events::rfc3339(self.created_at),
        };
        Event::order_created(&body, self.created_at, &self.traceparent)
    }
}

/// The user's newest orders, newest first.
pub async fn newest_of(reader: &SqlitePool, user_id: &str) -> sqlx::Result<Vec<Order>> {
    sqlx::query_as(
        "SELECT id, user_id, product_id, quantity, status, reason, created_at, settled_at, traceparent
         FROM orders WHERE user_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(user_id)
    .bind(LIST_LIMIT)
    .fetch_all(reader)
    .await
}

/// The user's order with this id; `None` when it is unknown or somebody else's, which nobody can tell apart.
pub async fn find_of(reader: &SqlitePool, user_id: &str, id: &str) -> sqlx::Result<Option<Order>> {
    sqlx::query_as(
        "SELECT id, user_id, product_id, quantity, status, reason, created_at, settled_at, traceparent
         FROM orders WHERE id = $1 AND user_id = $2",
    )
    .bind(id)
    .bind(user_id)
    .fetch_optional(reader)
    .await
}
