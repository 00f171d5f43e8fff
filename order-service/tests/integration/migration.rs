//! Databases as older versions of the service left them, and what the schema refuses.

use order_service::migrations::MIGRATIONS;
use shared::storage::Database;
use sqlx::migrate::{Migration, Migrator};
use testing::service::run_sql;

use crate::fixture::parts::Parts;
use crate::fixture::{Files, NO_BROKER, start};

/// Makes the file as a service with the migrations up to `version` left it, with what `sql` stores.
async fn old_database(files: &Files, version: i64, sql: &'static str) {
    let first: Vec<Migration> = MIGRATIONS.iter().filter(|one| one.version <= version).cloned().collect();
    let database = Database::open(&files.database(), &Migrator::with_migrations(first)).await.unwrap();
    run_sql(database, sql).await;
}

#[tokio::test]
async fn an_old_database_gets_the_changes_of_its_orders_in_the_order_of_time() {
    let files = Files::new();
    old_database(
        &files,
        101,
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
async fn an_old_database_keeps_its_orders_their_keys_and_the_numbers_of_their_changes() {
    let files = Files::new();
    old_database(
        &files,
        102,
        "INSERT INTO orders (id, user_id, product_id, quantity, status, created_at, traceparent, sent_at)
         VALUES ('b', 'alice', '1', 2, 'created', unixepoch() * 1000, '00-a-b-01', 1000), ('a', 'bob', '2', 1, 'created', 900, '', 7);
         UPDATE orders SET status = 'cancelled', reason = 'unknown_product', settled_at = 1500, decided_at = 1400
         WHERE id = 'b';
         INSERT INTO orders (id, user_id, product_id, quantity, status, created_at, traceparent, sent_at)
         VALUES ('c', 'alice', '1', 1, 'created', 1600, '', 1600);
         INSERT INTO idempotency_keys SELECT user_id, 'mine', id, created_at FROM orders WHERE id = 'b';
         INSERT INTO idempotency_keys VALUES ('alice', 'old', 'c', 1600)",
    )
    .await;
    let changes = "SELECT group_concat(format('%d %s %s %s %d', id, order_id, user_id, status, at))
                   FROM (SELECT * FROM status_changes WHERE id > 1 ORDER BY id)";
    let expected = "2 a bob created 900,3 b alice cancelled 1500,4 c alice created 1600";
    assert_eq!(files.look().text(changes).await, expected);

    let app = start(&files, NO_BROKER, &[]).await;
    assert_eq!(files.look().text(changes).await, expected);
    let alice = app.user("alice");
    let order = alice.order("b").await;
    assert_eq!((&order["reason"], &order["quantity"]), (&"unknown_product".into(), &2.into()));
    assert_eq!(alice.post_with_key("mine", "1", 2).await.id(), "b", "its key still means it");
    let listed = alice.get("/orders").await;
    let listed: Vec<_> = listed.list().iter().map(|order| order["id"].clone()).collect();
    assert_eq!(listed, ["c", "b"], "in the order of arrival");
    assert_eq!(files.look().text("SELECT group_concat(id) FROM orders WHERE sent_at = 7").await, "a");
    alice.place("1", 1).await;
    assert_eq!(files.look().number("SELECT max(id) FROM status_changes").await, 5);
    app.stop().await;
}

#[tokio::test]
async fn what_happened_to_an_order_can_neither_be_changed_nor_deleted() {
    let (files, parts) = Parts::alone().await;
    parts.place(2, 1_000).await;
    let refused = [
        ("UPDATE orders SET decided_at = 1", "CHECK constraint failed"),
        ("UPDATE status_changes SET at = 1", "it is a view"),
        ("DELETE FROM orders", "orders are never deleted"),
    ];
    let settled = "UPDATE orders SET status = 'confirmed', settled_at = 2000, decided_at = 1500, settled_number = number + 2";
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
    for column in ["reason = 'unknown_product'", "settled_at = 1", "decided_at = 1", "settled_number = 99"] {
        let sql = sqlx::AssertSqlSafe(format!("UPDATE orders SET {column}"));
        let mut tx = parts.database.begin().await.unwrap();
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err().to_string();
        assert!(error.contains("an order is settled once"), "{column}: {error}");
    }
    let confirmed = "SELECT count(*) FROM status_changes WHERE status = 'confirmed'";
    assert_eq!(files.look().number(confirmed).await, 2);
}
