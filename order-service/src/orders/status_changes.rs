//! The status changes of orders, numbered as they are committed. An order's row holds both of its own.
//!
//! Whoever has seen the change N will never see a new one below N, so reading on behind N misses nothing.

use shared::contract::status::{Reason, Status};
use sqlx::{AssertSqlSafe, FromRow, SqlitePool};

/// One row of the view `status_changes`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StatusChange {
    /// Above the ids of all changes that were committed before.
    pub id: i64,
    pub order_id: String,
    pub user_id: String,
    pub status: Status,
    /// Present exactly when cancelled.
    pub reason: Option<Reason>,
    /// When, in Unix milliseconds.
    pub at: i64,
}

/// The id of the newest change, as SQL; 0 before the first. The view would be read as a whole.
pub const NEWEST: &str = "max(coalesce((SELECT max(number) FROM orders), 0), coalesce((
    SELECT settled_number FROM orders WHERE settled_number IS NOT NULL ORDER BY settled_number DESC LIMIT 1), 0))";

/// The id of the newest change; 0 before the first.
pub async fn newest(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT {NEWEST}"))).fetch_one(reader).await
}

/// Up to `limit` changes behind `id`, in order.
pub async fn after(reader: &SqlitePool, id: i64, limit: i64) -> sqlx::Result<Vec<StatusChange>> {
    sqlx::query_as("SELECT * FROM status_changes WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(id)
        .bind(limit)
        .fetch_all(reader)
        .await
}

/// Up to `limit` changes of this user's orders behind `id`, in order.
pub async fn of_a_user_after(
    reader: &SqlitePool,
    user_id: &str,
    id: i64,
    limit: i64,
) -> sqlx::Result<Vec<StatusChange>> {
    sqlx::query_as("SELECT * FROM status_changes WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(user_id)
        .bind(id)
        .bind(limit)
        .fetch_all(reader)
        .await
}
