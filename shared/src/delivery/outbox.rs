//! The transactional outbox: an event is enqueued inside the transaction that makes it true.
//!
//! There is no way to enqueue outside a transaction, and only the relay removes rows. What one transaction
//! enqueues is a batch, and one row: it is written, read and deleted as one.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};
use uuid::Uuid;

use crate::clock;
use crate::contract::events::Event;
use crate::storage::{Tx, from_json, json};

/// Events in one row, at most: as many as are placed or handled in one transaction.
const BATCH_MAX: usize = 1_000;

/// Events that were enqueued together; one row of the table `outbox_batches`.
#[derive(Debug)]
pub struct Batch {
    /// Orders the rows; never used again, also after a delete.
    pub id: i64,
    pub events: Vec<Enqueued>,
}

/// One event that waits for its PubAck, as its batch keeps it: an array of these fields.
#[derive(Debug, Deserialize)]
pub struct Enqueued {
    /// The `Nats-Msg-Id`, a UUID v7.
    pub message_id: String,
    pub subject: String,
    pub order_id: String,
    /// When the fact happened, Unix milliseconds.
    pub event_time: i64,
    pub traceparent: String,
    pub body: String,
}

/// A statement that is bound value by value.
pub type Statement = Query<'static, Sqlite, SqliteArguments>;

/// Enqueues the events in their order, each with a `Nats-Msg-Id` of its own that carries the time `at_ms`.
pub async fn enqueue(tx: &mut Tx, events: &[Event], at_ms: i64) -> sqlx::Result<()> {
    for batch in events.chunks(BATCH_MAX) {
        enqueue_with(tx, batch, at_ms, "", |statement| statement).await?;
    }
    Ok(())
}

/// Enqueues one batch of events, and runs the `statements` that make them true, all in one trip to the database's thread.
/// In `statements` the values that `bind` adds are `$3` and so on. Returns how many rows they wrote.
pub async fn enqueue_with(
    tx: &mut Tx,
    events: &[Event],
    at_ms: i64,
    statements: &'static str,
    bind: impl FnOnce(Statement) -> Statement,
) -> sqlx::Result<u64> {
    let enqueued = |event| {
        let Event { subject, order_id, time_ms, traceparent, body }: &Event = event;
        (clock::id_of(at_ms).to_string(), subject, order_id, time_ms, traceparent, body)
    };
    let rows: Vec<_> = events.iter().map(enqueued).collect();
    let all =
        format!("INSERT INTO outbox_batches (event_count, events) SELECT $1, $2 WHERE $1 > 0; {statements}");
    let statement = sqlx::query(AssertSqlSafe(all)).bind(rows.len() as i64).bind(json(&rows));
    tx.has_enqueued |= !events.is_empty();
    let written = bind(statement).execute(&mut **tx).await?.rows_affected();
    Ok(written - u64::from(!events.is_empty()))
}

/// The oldest batches with an id above `cursor`, in the order in which they were enqueued: as many as have
/// `enough` events together, if there are.
pub async fn oldest_after(reader: &SqlitePool, cursor: i64, enough: usize) -> sqlx::Result<Vec<Batch>> {
    let mut rows = sqlx::query_as("SELECT id, events FROM outbox_batches WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(cursor)
        .bind(enough as i64)
        .fetch(reader);
    let (mut batches, mut read) = (Vec::new(), 0);
    while read < enough
        && let Some(row) = rows.try_next().await?
    {
        let batch = decode(row)?;
        read += batch.events.len();
        batches.push(batch);
    }
    Ok(batches)
}

fn decode((id, events): (i64, String)) -> sqlx::Result<Batch> {
    Ok(Batch { id, events: from_json(&events)? })
}

/// When the oldest event was enqueued, in Unix milliseconds; `None` when the outbox is empty.
pub async fn oldest_enqueued_ms(reader: &SqlitePool) -> sqlx::Result<Option<i64>> {
    let oldest = "SELECT events ->> '$[0][0]' FROM outbox_batches ORDER BY id LIMIT 1";
    let id: Option<String> = sqlx::query_scalar(oldest).fetch_optional(reader).await?;
    Ok(id.as_deref().and_then(enqueued_ms))
}

/// The time inside a `Nats-Msg-Id` of ours; `None` for anything that is not a UUID v7.
pub fn enqueued_ms(message_id: &str) -> Option<i64> {
    let (seconds, nanos) = Uuid::parse_str(message_id).ok()?.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1000 + u64::from(nanos) / 1_000_000).ok()
}

/// Removes batches whose events were all acknowledged, or can never be a message.
pub async fn delete(tx: &mut Tx, ids: &BTreeSet<i64>) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM outbox_batches WHERE id IN (SELECT value FROM json_each($1))")
        .bind(json(&ids))
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// How many events wait for their PubAck.
pub async fn count(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT coalesce(sum(event_count), 0) FROM outbox_batches").fetch_one(reader).await
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;

    use super::*;
    use crate::contract::events::OrderProcessed;
    use crate::contract::status::Status;
    use crate::storage::Database;

    #[test]
    fn a_message_id_carries_the_time_of_its_enqueueing_to_the_millisecond() {
        let at_ms = 1_763_928_000_123;
        assert_eq!(enqueued_ms(&clock::id_of(at_ms).to_string()), Some(at_ms));
        assert_ne!(clock::id_of(at_ms), clock::id_of(at_ms));
        assert_eq!(enqueued_ms("demo-1"), None);
    }

    #[tokio::test]
    async fn a_commit_wakes_the_relay_where_it_has_enqueued_events_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let database = Database::open(&path, &Migrator::with_migrations(Vec::new())).await.unwrap();
        let mut enqueues = database.enqueues();
        let answer = OrderProcessed { order_id: "1".into(), status: Status::Confirmed, reason: None };
        for (events, is_woken) in [(vec![], false), (vec![Event::new("1", &answer, 0, "trace")], true)] {
            let written = database.write(|mut tx| async move {
                enqueue(&mut tx, &events, 0).await?;
                Ok((tx, ()))
            });
            written.await.unwrap();
            assert_eq!(enqueues.has_changed().unwrap(), is_woken);
            enqueues.mark_unchanged();
        }
    }
}
