//! Pages of orders, the newest first, each read from an index in the order of the page. That of one user, and of
//! all orders, is read no further than the page is long. Everybody's orders of one status or product are looked for
//! among all.
//!
//! A page begins behind the number that ended the page before it. Numbers never change, so every order that existed
//! when the first page was read is on exactly one page, however many arrive meanwhile.

use shared::contract::status::Status;
use shared::storage::Database;
use sqlx::{QueryBuilder, Sqlite};

use super::Order;

/// Which orders a list holds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Filter<'a> {
    /// The user whose orders are listed; `None` for everybody's.
    pub owner: Option<&'a str>,
    pub status: Option<Status>,
    pub product_id: Option<&'a str>,
}

impl Filter<'_> {
    /// Whether a page may take a look at every order there is.
    fn is_scan(&self) -> bool {
        self.owner.is_none() && (self.status.is_some() || self.product_id.is_some())
    }
}

/// Up to `limit` orders with a number below `below`, the newest first; from the newest of all without it.
pub async fn page_of(
    database: &Database,
    filter: Filter<'_>,
    below: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let reader = if filter.is_scan() { database.scanner() } else { database.reader() };
    query(filter, below, limit).build_query_as().fetch_all(reader).await
}

/// A statement of its own for each combination: SQLite plans a statement before it knows its values, and with
/// a condition that is switched off by a value it would use no index.
fn query(filter: Filter<'_>, below: Option<i64>, limit: i64) -> QueryBuilder<Sqlite> {
    // Without the columns that a list does not show: sqlx copies each value of each row.
    let mut query = QueryBuilder::new(
        "SELECT number, id, user_id, product_id, quantity, status, reason, created_at, decided_at, settled_at, traceparent
         FROM orders WHERE number < ",
    );
    query.push_bind(below.unwrap_or(i64::MAX));
    let conditions = [
        (" AND user_id = ", filter.owner),
        (" AND status = ", filter.status.map(Status::as_str)),
        (" AND product_id = ", filter.product_id),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            query.push(condition).push_bind(value);
        }
    }
    query.push(" ORDER BY number DESC LIMIT ").push_bind(limit);
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::plans::Plans;

    #[tokio::test]
    async fn every_page_is_read_from_an_index_in_its_order() {
        let plans = Plans::open().await;
        let indexes = [
            (None, None, "orders_of_a_user "),
            (Some(Status::Confirmed), None, "orders_of_a_user_by_status "),
            (None, Some("1"), "orders_of_a_user_by_product "),
            (Some(Status::Confirmed), Some("1"), "orders_of_a_user_by_"),
        ];
        for (status, product_id, index) in indexes {
            let plan_of = async |owner| {
                let query = query(Filter { owner, status, product_id }, None, 1);
                plans.of(&query.into_string()).await
            };
            let (own, all) = (plan_of(Some("alice")).await, plan_of(None).await);
            assert!(own.starts_with("SEARCH orders USING") && own.contains(index), "{own}");
            assert!(all.starts_with("SEARCH orders USING INTEGER PRIMARY KEY (rowid<?)"), "{all}");
            assert!(!own.contains('\n') && !all.contains('\n'), "nothing is sorted: {own}\n{all}");
        }
    }
}
