//! The status changes of orders, numbered as they are committed. An order's row holds both of its own.
//!
//! Whoever has seen the change N will never see a new one below N, so reading on behind N misses nothing.

use shared::contract::status::{Reason, Status};
use shared::from_row;
use sqlx::SqlitePool;

/// One row of the view `status_changes`.
#[derive(Debug, Clone, PartialEq, Eq)]
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

from_row!(StatusChange { id, order_id, user_id, status, reason, at });

const NEWEST: &str = "SELECT number FROM newest_status_change";
const AFTER: &str = "SELECT * FROM status_changes WHERE id > $1 ORDER BY id LIMIT $2";
const OF_A_USER_AFTER: &str =
    "SELECT * FROM status_changes WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3";

/// The id of the newest change; 0 before the first.
pub async fn newest(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar(NEWEST).fetch_one(reader).await
}

/// Up to `limit` changes behind `id`, in order.
pub async fn after(reader: &SqlitePool, id: i64, limit: i64) -> sqlx::Result<Vec<StatusChange>> {
    sqlx::query_as(AFTER).bind(id).bind(limit).fetch_all(reader).await
}

/// Up to `limit` changes of this user's orders behind `id`, in order.
pub async fn of_a_user_after(
    reader: &SqlitePool,
    user_id: &str,
    id: i64,
    limit: i64,
) -> sqlx::Result<Vec<StatusChange>> {
    sqlx::query_as(OF_A_USER_AFTER).bind(user_id).bind(id).bind(limit).fetch_all(reader).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::plans::Plans;

    #[tokio::test]
    async fn changes_are_read_from_two_indexes_in_their_order_and_nothing_is_sorted() {
        let plans = Plans::open().await;
        let cases = [
            (AFTER, "INTEGER PRIMARY KEY (rowid>?)", "orders_settled (settled_number>?)"),
            (
                OF_A_USER_AFTER,
                "orders_of_a_user (user_id=? AND rowid>?)",
                "orders_of_a_user_settled (user_id=? AND settled_number>?)",
            ),
        ];
        for (sql, created, settled) in cases {
            let plan = plans.of(sql).await;
            assert!(plan.contains(created) && plan.contains(settled), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
        let newest = plans.of(NEWEST).await;
        assert!(newest.contains("COVERING INDEX orders_settled"), "{newest}");
    }
}
