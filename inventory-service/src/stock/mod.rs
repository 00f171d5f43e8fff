//! Stock: the rules and the SQL, free of HTTP and NATS.
//!
//! [`reservation`] decides a batch of orders, [`seed`] puts the first stock on the shelf, [`adjustment`]
//! changes it by hand, [`movement`] lists all.

pub mod adjustment;
pub mod movement;
pub mod reservation;
pub mod seed;

use serde::{Serialize, Serializer};
use shared::{clock, from_row};
use sqlx::SqlitePool;
use utoipa::ToSchema;

/// The most that there can be of one product; far below what would overflow a sum.
pub const STOCK_MAX: i64 = 1_000_000_000_000;

/// A product and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// 1–64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub product_id: String,
    /// Never negative.
    #[schema(minimum = 0)]
    pub stock: i64,
}

from_row!(Product { product_id, stock });

/// The first `limit` products behind this id, in the order of their ids; no product's id is empty.
pub async fn behind(reader: &SqlitePool, product_id: &str, limit: i64) -> sqlx::Result<Vec<Product>> {
    sqlx::query_as("SELECT id AS product_id, stock FROM products WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(product_id)
        .bind(limit)
        .fetch_all(reader)
        .await
}

/// One product; `None` when it is unknown.
pub async fn find(reader: &SqlitePool, product_id: &str) -> sqlx::Result<Option<Product>> {
    sqlx::query_as("SELECT id AS product_id, stock FROM products WHERE id = $1")
        .bind(product_id)
        .fetch_optional(reader)
        .await
}

/// A time in Unix milliseconds, as it is written on the wire.
fn rfc3339<S: Serializer>(time_ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&clock::rfc3339(*time_ms))
}
