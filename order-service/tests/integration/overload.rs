//! Bounded queues: more than fits is refused at once, and certainly not stored.

use std::fs;
use std::time::Instant;

use shared::storage::commit_queue::{CommitError, commit_batch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fixture::parts::{Parts, new_order};
use crate::fixture::{Files, alone, wait_until};

#[tokio::test]
async fn a_full_queue_is_answered_503_at_once_while_reads_go_on() {
    let (files, app) = alone(&["--queue-size", "1"]).await;
    let alice = app.user("alice");
    alice.place("before", 1).await;

    // Commits wait for the lock: one order is in the committer's hands, one fits into the queue.
    let lock = files.hold_write_lock().await;
    let mut posts = JoinSet::new();
    for _ in 0..6 {
        let alice = alice.clone();
        posts.spawn(async move { alice.post("1", 1).await });
    }
    for _ in 0..4 {
        let refused = posts.join_next().await.unwrap().unwrap();
        refused.problem(503);
        assert_eq!(refused.header("retry-after"), "1");
    }
    assert_eq!(alice.get("/orders").await.body.as_array().unwrap().len(), 1, "a read needs no lock");
    assert_eq!(app.readiness().await.0, 200);
    lock.release().await;
    for answer in posts.join_all().await {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(files.look().orders().await, 3, "what was refused was not stored");
    app.stop().await;
}

#[tokio::test]
async fn a_batch_that_never_got_a_transaction_is_certainly_not_stored() {
    let (files, parts) = Parts::alone().await;
    let batch = [new_order("alice", "1", 1), new_order("bob", "1", 1)];
    // Longer than a connection waits for somebody else's lock.
    let lock = files.hold_write_lock().await;
    let started = Instant::now();
    let results = commit_batch(&parts.database, &batch).await;
    assert!(started.elapsed().as_secs() < 9, "one wait for the whole batch, not one for each order");
    lock.release().await;
    assert_eq!(results, [Err(CommitError::NotStored), Err(CommitError::NotStored)]);
    assert_eq!(files.look().orders().await, 0);
    assert!(!parts.database.is_writable(), "nobody else need wait for the lock");
    parts.database.probe().await.unwrap();
    let results = commit_batch(&parts.database, &batch).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Bytes of the WAL.
fn wal(files: &Files) -> u64 {
    fs::metadata(files.path("order.db-wal")).unwrap().len()
}

#[tokio::test]
async fn the_wal_is_cut_back_although_somebody_reads_at_every_moment() {
    const LARGE: u64 = 64 << 20;
    let (files, app) = alone(&[]).await;
    let (reader, stop) = (files.reader(), CancellationToken::new());
    let reading = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut current = reader.begin().await.unwrap();
            while !stop.is_cancelled() {
                sqlx::query("SELECT * FROM orders").fetch_optional(&mut *current).await.unwrap();
                // The next one reads before this one ends.
                let mut next = reader.begin().await.unwrap();
                sqlx::query("SELECT * FROM orders").fetch_optional(&mut *next).await.unwrap();
                current = next;
            }
        }
    });
    let look = files.look();
    look.change("CREATE TABLE filler (bytes BLOB)").await;
    while wal(&files) < LARGE {
        look.change("INSERT INTO filler VALUES (zeroblob(1000000))").await;
    }
    wait_until("the WAL is cut back", || async { wal(&files) < LARGE }).await;
    app.user("alice").place("1", 1).await;
    stop.cancel();
    reading.await.unwrap();
    app.stop().await;
}
