//! The transactional outbox: an event is enqueued inside the transaction that makes it true.
//!
//! There is no way to enqueue outside a transaction, and only the relay removes rows.

use sqlx::{FromRow, SqlitePool};
use uuid::{NoContext, Timestamp, Uuid};

use crate::contract::events::Event;
use crate::storage::{Tx, json};

/// One event that waits for its PubAck.
#[derive(Debug, FromRow)]
pub struct Row {
    /// Orders the rows; never used again, also after a delete.
    pub id: i64,
    /// The `Nats-Msg-Id`, a UUID v7.
    pub message_id: String,
    pub subject: String,
    pub order_id: String,
    /// When the fact happened, Unix milliseconds.
    pub event_time: i64,
    pub traceparent: String,
    pub body: String,
}

/// Inserts one row per event, each with a `Nats-Msg-Id` of its own that carries the time `at_ms`.
pub async fn enqueue(tx: &mut Tx, events: &[Event], at_ms: i64) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            let message_id = message_id(at_ms).to_string();
            (message_id, event.subject, &event.order_id, event.time_ms, &event.traceparent, &event.body)
        })
        .collect();
    sqlx::query(
        "INSERT INTO outbox (message_id, subject, order_id, event_time, traceparent, body)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each($1)",
    )
    .bind(json(&rows))
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// A fresh UUID v7 of the given time.
fn message_id(at_ms: i64) -> Uuid {
    let (seconds, millis) = (at_ms / 1000, at_ms % 1000);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds as u64, millis as u32 * 1_000_000))
}

/// The oldest rows with an id above `cursor`, in the order in which they were enqueued.
pub async fn oldest_after(reader: &SqlitePool, cursor: i64, limit: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as("SELECT * FROM outbox WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(cursor)
        .bind(limit)
        .fetch_all(reader)
        .await
}

/// When the oldest row was enqueued, in Unix milliseconds; `None` when the outbox is empty.
pub async fn oldest_enqueued_ms(reader: &SqlitePool) -> sqlx::Result<Option<i64>> {
    let id: Option<String> = sqlx::query_scalar("SELECT message_id FROM outbox ORDER BY id LIMIT 1")
        .fetch_optional(reader)
        .await?;
    Ok(id.as_deref().and_then(enqueued_ms))
}

/// The time inside a `Nats-Msg-Id` of ours; `None` for anything that is not a UUID v7.
pub fn enqueued_ms(message_id: &str) -> Option<i64> {
    let (seconds, nanos) = Uuid::parse_str(message_id).ok()?.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1000 + u64::from(nanos) / 1_000_000).ok()
}

/// Removes rows that the broker acknowledged, or that can never be a message.
pub async fn delete(tx: &mut Tx, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))")
        .bind(json(&ids))
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// How many events wait for their PubAck.
pub async fn count(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(reader).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_carries_the_time_of_its_enqueueing_to_the_millisecond() {
        let at_ms = 1_763_928_000_123;
        assert_eq!(enqueued_ms(&message_id(at_ms).to_string()), Some(at_ms));
        assert_ne!(message_id(at_ms), message_id(at_ms));
        assert_eq!(enqueued_ms("demo-1"), None);
    }
}
