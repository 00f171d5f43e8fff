//! What moved a product's stock, newest first: adjustments, and orders that took from it.
//!
//! The deltas of all movements add up to the stock, so an order that was refused is no movement. A page is
//! read as two halves, each from an index in its order, so its cost does not grow with what was sold.

use serde::{Deserialize, Serialize};
use shared::from_row;
use sqlx::SqlitePool;
use utoipa::ToSchema;

use super::rfc3339;

/// One change of a product's stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// `seed`, `restock` or `correction`: an adjustment; `reservation`: a confirmed order.
    pub kind: String,
    /// What was added; negative when it was taken away.
    pub delta: i64,
    /// When it happened; RFC 3339 on the wire.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: i64,
    /// Of a reservation: the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub order_id: Option<String>,
    /// Of an adjustment: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub adjustment_id: Option<i64>,
    /// Of an adjustment: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Of an adjustment that somebody asked for: who.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user_id: Option<String>,
    /// Of an adjustment: the stock right after it, unless it is older than this was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub stock_after: Option<i64>,
}

from_row!(Movement { kind, delta, at, order_id, adjustment_id, reason, user_id, stock_after });

/// Where a page ends, in each half: what is older than this comes behind it.
///
/// Movements are ordered by their time; in one millisecond, adjustments are taken for the newer ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    adjustment: (i64, i64),
    reservation: (i64, String),
}

impl Position {
    /// Before the newest movement.
    pub fn start() -> Self {
        Self { adjustment: (i64::MAX, i64::MAX), reservation: (i64::MAX, String::new()) }
    }
}

impl Movement {
    /// The end of a page with this movement as its last. Adjustments begin at 1, and no order id is empty.
    pub fn position(&self) -> Position {
        let at = self.at;
        match self.adjustment_id {
            Some(id) => Position { adjustment: (at, id), reservation: (at + 1, String::new()) },
            None => {
                let order_id = self.order_id.clone().unwrap_or_default();
                Position { adjustment: (at, 0), reservation: (at, order_id) }
            }
        }
    }
}

/// One page, in one statement so that both halves are of one moment. Only the rows of the halves are sorted.
const PAGE: &str = "
    SELECT * FROM (
        SELECT * FROM (
            SELECT kind, delta, created_at AS at, NULL AS order_id, id AS adjustment_id, reason, user_id, stock_after
            FROM adjustments
            WHERE product_id = $1 AND (created_at, id) < ($2, $3)
            ORDER BY created_at DESC, id DESC LIMIT $6)
        UNION ALL
        SELECT * FROM (
            SELECT 'reservation', -quantity, decided_at, order_id, NULL, NULL, NULL, NULL
            FROM reservations
            WHERE product_id = $1 AND status = 'confirmed' AND (decided_at, order_id) < ($4, $5)
            ORDER BY decided_at DESC, order_id DESC LIMIT $6))
    ORDER BY at DESC, adjustment_id IS NULL, adjustment_id DESC, order_id DESC LIMIT $6";

/// The newest `limit` movements behind this position.
pub async fn newest_behind(
    reader: &SqlitePool,
    product_id: &str,
    Position { adjustment, reservation }: &Position,
    limit: i64,
) -> sqlx::Result<Vec<Movement>> {
    sqlx::query_as(PAGE)
        .bind(product_id)
        .bind(adjustment.0)
        .bind(adjustment.1)
        .bind(reservation.0)
        .bind(&reservation.1)
        .bind(limit)
        .fetch_all(reader)
        .await
}

#[cfg(test)]
mod tests {
    use shared::storage::Database;

    use super::*;
    use crate::migrations::MIGRATIONS;

    /// Each step of the plan with its number and that of the step that it belongs to.
    async fn plan() -> Vec<(i64, i64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("test.db"), &MIGRATIONS).await.unwrap();
        const EXPLAIN: &str = "EXPLAIN QUERY PLAN ";
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{EXPLAIN}{PAGE}")))
                .fetch_all(database.reader())
                .await
                .unwrap();
        rows.into_iter().map(|(id, parent, _, step)| (id, parent, step)).collect()
    }

    #[tokio::test]
    async fn a_page_is_read_from_two_indexes_and_sorts_no_table() {
        let plan = plan().await;
        let steps: Vec<&str> = plan.iter().map(|(_, _, step)| step.as_str()).collect();
        for index in
            ["adjustments_as_movements (product_id=? AND", "reservations_as_movements (product_id=? AND"]
        {
            assert!(
                steps.iter().any(|step| step.starts_with("SEARCH") && step.contains(index)),
                "{steps:#?}"
            );
        }
        for table in ["SCAN adjustments", "SCAN reservations"] {
            assert!(!steps.iter().any(|step| step.starts_with(table)), "{steps:#?}");
        }
        // The last sort, of what the halves gave, is the only one: it belongs to the whole statement.
        let sorts = plan.iter().filter(|(_, _, step)| step.contains("TEMP B-TREE"));
        assert_eq!(sorts.map(|(_, parent, _)| *parent).collect::<Vec<_>>(), [0], "{steps:#?}");
    }
}
