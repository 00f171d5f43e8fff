//! Pages of orders, the newest first, each read from an index in the order of the page.
//!
//! A page begins behind the id that ended the page before it. Ids never change, so every order that existed when the
//! first page was read is on exactly one page, however many arrive meanwhile.

use shared::contract::status::Status;
use sqlx::SqlitePool;

use super::Order;

/// Above every id: text sorts by its bytes, and no text has a larger character.
const ABOVE_ALL: &str = "\u{10ffff}";

/// Which orders a list holds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wanted<'a> {
    /// The user whose orders are listed; `None` for everybody's.
    pub owner: Option<&'a str>,
    /// Only orders with this status.
    pub status: Option<Status>,
    /// Only orders of this product.
    pub product_id: Option<&'a str>,
}

macro_rules! page {
    ($($condition:literal),*) => {
        concat!(
            "SELECT id, user_id, product_id, quantity, status, reason, created_at, decided_at, settled_at, traceparent
             FROM orders WHERE id < $1",
            $(" AND ", $condition,)*
            " ORDER BY id DESC LIMIT $2"
        )
    };
}

impl Wanted<'_> {
    /// A statement of its own for each combination: SQLite plans a statement before it knows its values, and with a
    /// condition that is switched off by a value it would use no index.
    fn sql(self) -> &'static str {
        match (self.owner.is_some(), self.status.is_some(), self.product_id.is_some()) {
            (true, false, false) => page!("user_id = $3"),
            (true, true, false) => page!("user_id = $3", "status = $4"),
            (true, false, true) => page!("user_id = $3", "product_id = $5"),
            (true, true, true) => page!("user_id = $3", "status = $4", "product_id = $5"),
            (false, false, false) => page!(),
            (false, true, false) => page!("status = $4"),
            (false, false, true) => page!("product_id = $5"),
            (false, true, true) => page!("status = $4", "product_id = $5"),
        }
    }
}

/// Up to `limit` orders with an id below `below`, the newest first; from the newest of all without it.
pub async fn page_of(
    reader: &SqlitePool,
    wanted: Wanted<'_>,
    below: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let page = sqlx::query_as(wanted.sql()).bind(below.unwrap_or(ABOVE_ALL)).bind(limit);
    page.bind(wanted.owner)
        .bind(wanted.status.map(Status::as_str))
        .bind(wanted.product_id)
        .fetch_all(reader)
        .await
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, sqlite::SqlitePoolOptions};

    use super::*;

    static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

    /// What SQLite would do, one step a line.
    async fn plan(database: &SqlitePool, wanted: Wanted<'_>) -> String {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", wanted.sql()));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(database).await.unwrap();
        steps.into_iter().map(|(_, _, _, step)| step).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn every_page_is_read_from_an_index_in_its_order() {
        let database = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        MIGRATIONS.run(&database).await.unwrap();
        let indexes = [
            (None, None, "orders_of_a_user "),
            (Some(Status::Confirmed), None, "orders_of_a_user_by_status "),
            (None, Some("1"), "orders_of_a_user_by_product "),
            (Some(Status::Confirmed), Some("1"), "orders_of_a_user_by_"),
        ];
        for (status, product_id, index) in indexes {
            let plan_of = |owner| plan(&database, Wanted { owner, status, product_id });
            let (own, all) = (plan_of(Some("alice")).await, plan_of(None).await);
            assert!(own.starts_with("SEARCH orders USING") && own.contains(index), "{own}");
            assert!(all.starts_with("SEARCH orders USING PRIMARY KEY (id<?)"), "{all}");
            assert!(!own.contains('\n') && !all.contains('\n'), "nothing is sorted: {own}\n{all}");
        }
    }
}
