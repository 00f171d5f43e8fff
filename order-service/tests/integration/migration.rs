//! A database of the service as it was before its status changes were kept, and what the schema refuses since.

use shared::storage::Database;
use sqlx::migrate::{Migration, Migrator};
use testing::service::run_sql;

use crate::fixture::parts::Parts;
use crate::fixture::{Files, NO_BROKER, start};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Makes the file as an older service left it, with what `sql` stores.
async fn old_database(files: &Files, sql: &'static str) {
    let first: Vec<Migration> = MIGRATIONS.iter().filter(|one| one.version == 101).cloned().collect();
    let database = Database::open(&files.database(), &Migrator::with_migrations(first)).await.unwrap();
    run_sql(database, sql).await;
}

#[tokio::test]
async fn an_old_database_gets_the_changes_of_its_orders_in_the_order_of_time() {
    let files = Files::new();
    old_database(
        &files,
        "INSERT INTO orders (id, user_id, product_id, quantity, status, reason, created_at, settled_at, traceparent, sent_at)
         VALUES ('a', 'alice', '1', 1, 'confirmed', NULL, 1000, 1500, '00-a-b-01', 1000),
                ('b', 'bob', '1', 1, 'created', NULL, 1200, NULL, '00-a-b-01', 1200),
                ('c', 'alice', '2', 1, 'cancelled', 'insufficient_stock', 1300, 1250, '00-a-b-01', 1300)",
    )
    .await;
    let app = start(&files, NO_BROKER, &[]).await;
    let changes = files
        .look()
        .texts("SELECT format('%d %s %s %s %d', id, order_id, status, coalesce(reason, '-'), at) FROM status_changes ORDER BY id")
        .await;
    let expected = [
        "1 a created - 1000",
        "2 b created - 1200",
        // The clock went back while this one waited.
        "3 c created - 1300",
        "4 c cancelled insufficient_stock 1250",
        "5 a confirmed - 1500",
    ];
    assert_eq!(changes, expected);
    let order = app.user("alice").order("a").await;
    let events: Vec<_> = order["history"].as_array().unwrap().iter().map(|one| &one["event"]).collect();
    assert_eq!(events, ["created", "settled"], "when it was decided was not kept");
    app.user("alice").place("1", 1).await;
    assert_eq!(files.look().number("SELECT max(id) FROM status_changes").await, 6);
    app.stop().await;
}

#[tokio::test]
async fn what_happened_to_an_order_can_neither_be_changed_nor_deleted() {
    let (files, parts) = Parts::alone().await;
    parts.place(2, 1_000).await;
    let refused = [
        ("UPDATE orders SET decided_at = 1", "CHECK constraint failed"),
        ("UPDATE status_changes SET at = 1", "a status change is a fact"),
        ("DELETE FROM status_changes", "status changes are never deleted"),
    ];
    let settled = "UPDATE orders SET status = 'confirmed', settled_at = 2000, decided_at = 1500";
    for (sql, message) in refused.into_iter().chain([(settled, ""), (settled, "an order is settled once")]) {
        let mut tx = parts.database.begin().await.unwrap();
        match sqlx::query(sql).execute(&mut *tx).await {
            Ok(done) => assert_eq!((message, done.rows_affected()), ("", 2), "{sql}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!message.is_empty() && error.contains(message), "{sql}: {error}");
            }
        }
        tx.commit().await.unwrap();
    }
    for column in ["reason = 'unknown_product'", "settled_at = 1", "decided_at = 1"] {
        let sql = sqlx::AssertSqlSafe(format!("UPDATE orders SET {column}"));
        let mut tx = parts.database.begin().await.unwrap();
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err().to_string();
        assert!(error.contains("an order is settled once"), "{column}: {error}");
    }
    let confirmed = "SELECT count(*) FROM status_changes WHERE status = 'confirmed'";
    assert_eq!(files.look().number(confirmed).await, 2);
}
