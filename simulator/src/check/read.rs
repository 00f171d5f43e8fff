//! Reads both databases without disturbing the services that write them.
//!
//! Each file is read in one read transaction, order.db first. An order may be placed and decided between the
//! two, so reservations without an order are looked up in order.db once more: only then are they foreign.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, FromRow, SqliteConnection};

use super::answered;
use super::names::fingerprint;
use super::snapshot::{Key, Order, OutboxEvent, Reservation, RowResult, Shelf, Snapshot};

/// Ids of one statement of the second look.
const LOOK_UP: usize = 10_000;

type OrderColumns = (String, String, String, i64, String, Option<String>, i64, Option<i64>);

#[derive(Debug, Clone)]
pub struct Databases {
    pub order: PathBuf,
    pub inventory: PathBuf,
    /// Where order.db is looked up once more: the same file, or a copy that was taken after the inventory's.
    pub order_again: PathBuf,
}

impl Databases {
    pub fn in_folder(folder: &Path) -> Self {
        let order = folder.join("order.db");
        Self { order_again: order.clone(), order, inventory: folder.join("inventory.db") }
    }
}

/// Reads the answers, where there are some, and both databases, also while the services run.
///
/// The answers come first: what clients knew before is in databases that are read afterwards.
pub async fn read(databases: &Databases, answers: Option<&Path>) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    if let Some(path) = answers {
        snapshot.answered = Some(answered::read(path, &mut snapshot.names)?);
    }
    let Databases { order, inventory, order_again } = databases;
    let cannot_read = |path: &Path| format!("cannot read {}", path.display());
    read_order_db(&mut snapshot, order).await.with_context(|| cannot_read(order))?;
    read_inventory_db(&mut snapshot, inventory).await.with_context(|| cannot_read(inventory))?;
    look_again(&mut snapshot, order_again).await.with_context(|| cannot_read(order_again))?;
    Ok(snapshot)
}

/// A connection that only reads.
pub async fn open(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// Hands every row to `take`, one after the other: all of them would not fit into memory twice.
async fn each<T>(sql: &'static str, database: &mut SqliteConnection, mut take: impl FnMut(T)) -> Result<()>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut rows = sqlx::query_as(sql).fetch(database);
    while let Some(row) = rows.try_next().await? {
        take(row);
    }
    Ok(())
}

async fn read_order_db(snapshot: &mut Snapshot, path: &Path) -> Result<()> {
    let mut database = open(path).await?;
    let mut tx = database.begin().await?;
    let orders =
        "SELECT id, user_id, product_id, quantity, status, reason, created_at, settled_at FROM orders";
    each(orders, &mut tx, |row| {
        let order = snapshot.order_row(&row);
        snapshot.orders.push(order);
    })
    .await?;
    snapshot.orders.sort_unstable_by_key(|order| order.id);
    let keys =
        "SELECT user_id, idempotency_key, id, created_at FROM orders WHERE idempotency_key IS NOT NULL";
    each(keys, &mut tx, |(user, key, order, created_at): (String, String, String, i64)| {
        let (user, order) = (snapshot.names.name(&user), snapshot.names.order(&order));
        snapshot.keys.push(Key { user, key: fingerprint(&key), order, created_at });
    })
    .await?;
    snapshot.keys.sort_unstable();
    read_delivery(snapshot, &mut tx, "order.db").await
}

async fn read_inventory_db(snapshot: &mut Snapshot, path: &Path) -> Result<()> {
    let mut database = open(path).await?;
    let mut tx = database.begin().await?;
    let reservations = "SELECT order_id, product_id, quantity, status, reason FROM reservations";
    each(reservations, &mut tx, |row: (String, String, i64, String, Option<String>)| {
        let (order, product, quantity, status, reason) = row;
        let (order, product) = (snapshot.names.order(&order), snapshot.names.name(&product));
        let result = snapshot.result(&status, reason.as_deref());
        snapshot.reservations.push(Reservation { order, product, quantity, result });
    })
    .await?;
    snapshot.reservations.sort_unstable_by_key(|reservation| reservation.order);
    let shelves = "SELECT id, max(stock), sum(delta) FROM (
                       SELECT id, stock, 0 AS delta FROM products
                       UNION ALL SELECT product_id, NULL, delta FROM adjustments)
                   GROUP BY id";
    each(shelves, &mut tx, |(product, stock, adjusted): (String, Option<i64>, i64)| {
        snapshot.shelves.insert(snapshot.names.name(&product), Shelf { stock, adjusted });
    })
    .await?;
    read_delivery(snapshot, &mut tx, "inventory.db").await
}

/// The outbox and the dead letters, which both databases have.
async fn read_delivery(
    snapshot: &mut Snapshot,
    tx: &mut SqliteConnection,
    database: &'static str,
) -> Result<()> {
    each("SELECT batch, order_id FROM outbox", tx, |(batch, order): (i64, String)| {
        let order = snapshot.names.order(&order);
        snapshot.outbox.push(OutboxEvent { database, batch, order });
    })
    .await?;
    each("SELECT body, reason FROM dead_letters", tx, |(body, reason): (Vec<u8>, String)| {
        snapshot.dead_letters += 1;
        if let Some(id) = order_of(&body) {
            let order = snapshot.names.order(&id);
            snapshot.set_aside.insert(order, format!("{reason} in {database}"));
        }
    })
    .await
}

/// Reservations whose order was not there yet when order.db was read.
async fn look_again(snapshot: &mut Snapshot, path: &Path) -> Result<()> {
    let unmatched = snapshot.reservations.iter().map(|reservation| reservation.order);
    let unmatched: Vec<String> = unmatched
        .filter(|order| snapshot.order(*order).is_none())
        .map(|order| snapshot.names.order_text(order))
        .collect();
    if unmatched.is_empty() {
        return Ok(());
    }
    let mut database = open(path).await?;
    for ids in unmatched.chunks(LOOK_UP) {
        let rows = sqlx::query_as::<_, OrderColumns>(
            "SELECT id, user_id, product_id, quantity, status, reason, created_at, settled_at FROM orders
             WHERE id IN (SELECT value FROM json_each($1))",
        );
        for row in rows.bind(serde_json::to_string(ids)?).fetch_all(&mut database).await? {
            let order = snapshot.order_row(&row);
            snapshot.orders.push(order);
        }
    }
    snapshot.orders.sort_unstable_by_key(|order| order.id);
    Ok(())
}

impl Snapshot {
    fn order_row(&mut self, row: &OrderColumns) -> Order {
        let (id, user, product, quantity, status, reason, created_at, settled_at) = row;
        Order {
            id: self.names.order(id),
            user: self.names.name(user),
            product: self.names.name(product),
            quantity: *quantity,
            result: self.result(status, reason.as_deref()),
            created_at: *created_at,
            settled_at: settled_at.is_some(),
        }
    }

    fn result(&mut self, status: &str, reason: Option<&str>) -> RowResult {
        RowResult { status: status.parse().ok(), reason: reason.map(|reason| self.names.name(reason)) }
    }
}

/// The order that a dead letter is about; `None` when its body does not tell.
fn order_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct AboutAnOrder {
        order_id: String,
    }
    serde_json::from_slice::<AboutAnOrder>(body).ok().map(|body| body.order_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_dead_letter_is_read_from_its_body_where_it_can_be() {
        assert_eq!(order_of(br#"{"orderId":"a","quantity":-1}"#).as_deref(), Some("a"));
        assert_eq!(order_of(b"garbage"), None);
        assert_eq!(order_of(br#"{"orderId":7}"#), None);
    }
}
