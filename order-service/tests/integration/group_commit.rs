//! Concurrent orders are one transaction, and one bad row spoils nothing for the others.

use shared::storage::commit_queue::{CommitError, commit_batch};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::fixture::parts::{Parts, created, new_order};
use crate::fixture::raw::{connect, post_head};
use crate::fixture::{alone, wait_until};

#[tokio::test]
async fn a_batch_of_orders_is_one_commit() {
    let (files, parts) = Parts::alone().await;
    let batch: Vec<_> = (1..=500).map(|quantity| new_order("alice", "1", quantity)).collect();
    // The first commit behind the checkpoint of the start writes the WAL from its beginning again.
    commit_batch(&parts.database, &[new_order("bob", "1", 1)]).await;
    let before = files.commits_in_wal();
    let results = commit_batch(&parts.database, &batch).await;
    assert_eq!(files.commits_in_wal() - before, 1, "500 orders and their events");
    let quantities: Vec<i64> = results.into_iter().map(|result| created(result.unwrap()).quantity).collect();
    assert_eq!(quantities, (1..=500).collect::<Vec<_>>(), "each caller gets its own order");
    assert_eq!(files.orders_and_outbox().await, (501, 501));
}

#[tokio::test]
async fn orders_that_wait_for_a_commit_at_the_same_time_are_committed_together() {
    let (files, app) = alone(&[]).await;
    let before = files.commits_in_wal();
    let lock = files.hold_write_lock().await;
    let mut posts = JoinSet::new();
    for number in 1..=50 {
        let user = app.user(&format!("user-{number}"));
        posts.spawn(async move { user.post("1", number).await });
    }
    // Answered at once, and after the requests before it were taken in by the same thread.
    app.readiness().await;
    lock.release().await;
    for answer in posts.join_all().await {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let commits = files.commits_in_wal() - before;
    assert!((1..=25).contains(&commits), "50 orders made {commits} commits");
    assert_eq!(files.look().orders().await, 50);
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_refused_alone() {
    let (files, parts) = Parts::alone().await;
    let mut spoiler = new_order("alice", "1", 0);
    spoiler.idempotency_key = Some("k".to_owned());
    let batch = [new_order("alice", "1", 1), spoiler.clone(), new_order("bob", "2", 2)];
    let results = commit_batch(&parts.database, &batch).await;
    assert_eq!(created(results[0].clone().unwrap()).quantity, 1);
    assert_eq!(results[1], Err(CommitError::Rejected));
    assert_eq!(created(results[2].clone().unwrap()).user_id, "bob");
    let look = files.look();
    assert_eq!((look.orders().await, look.outbox().await), (2, 2));
    assert_eq!(look.number("SELECT count(idempotency_key) FROM orders").await, 0, "the key is free");
    assert_eq!(commit_batch(&parts.database, &[spoiler]).await, [Err(CommitError::Rejected)]);
    assert!(parts.database.is_writable(), "one bad row says nothing about the disk");
}

#[tokio::test]
async fn a_client_that_goes_away_undoes_nothing() {
    let (files, app) = alone(&[]).await;
    let body = r#"{"productId":"1","quantity":1}"#;
    let request = format!("{}Content-Length: {}\r\n\r\n{body}", post_head(), body.len());
    let lock = files.hold_write_lock().await;
    let mut client = connect(&app.url).await;
    client.write_all(request.as_bytes()).await.unwrap();
    // Answered after the request before it has joined the queue.
    app.readiness().await;
    drop(client);
    lock.release().await;
    let look = files.look();
    wait_until("the order is stored", || async { look.orders().await == 1 }).await;
    assert_eq!(look.outbox().await, 1);
    app.stop().await;
}

#[tokio::test]
async fn the_database_is_as_durable_as_it_must_be() {
    let (_files, parts) = Parts::alone().await;
    let mut tx = parts.database.begin().await.unwrap();
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *tx).await.unwrap();
    let numbers: Vec<u64> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(numbers >= vec![3, 51, 3], "SQLite {version} can lose commits under WAL");
    let pragma = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql);
    assert_eq!(pragma("PRAGMA synchronous").fetch_one(&mut *tx).await.unwrap(), 2);
    assert_eq!(pragma("PRAGMA foreign_keys").fetch_one(&mut *tx).await.unwrap(), 1);
    assert_eq!(pragma("PRAGMA fullfsync").fetch_one(&mut *tx).await.unwrap(), 1);
    assert_eq!(pragma("PRAGMA checkpoint_fullfsync").fetch_one(&mut *tx).await.unwrap(), 1);
    assert_eq!(pragma("PRAGMA temp_store").fetch_one(&mut *tx).await.unwrap(), 2, "nothing needs /tmp");
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(mode, "wal");
    let refused = sqlx::query("DELETE FROM outbox_batches").execute(parts.database.reader()).await;
    assert!(refused.is_err(), "the readers cannot write");
}
