//! Orders that wait for their result, and the sweep that sends their event again.
//!
//! An order is swept only when it was last sent before everything that still waits, in the outbox or at the
//! inventory's consumer: while its message waits, sending it again would only lengthen the queue. A time that
//! the clock has not reached yet says nothing, since the clock was ahead when it was taken.

use std::ops::RangeInclusive;

use shared::contract::events::Event;
use shared::delivery::outbox;
use shared::storage::{Tx, from_json, json};
use sqlx::SqlitePool;

use super::Order;

/// The first sweep comes so many milliseconds after the enqueueing; each further one after twice that.
pub const BACKOFF_START_MS: i64 = 30_000;
/// The longest time between two sweeps of one order, in milliseconds.
pub const BACKOFF_MAX_MS: i64 = 600_000;

/// Whether a time was taken by a clock that was ahead, by more than the first back-off: less is soon reached.
pub fn is_ahead(time_ms: i64, now_ms: i64) -> bool {
    time_ms > now_ms + BACKOFF_START_MS
}

/// How many orders are not settled.
pub async fn count(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM orders WHERE status = 'created'").fetch_one(reader).await
}

/// Enqueues the events of up to `limit` orders that are due and were last sent before `waiting_since_ms`, the
/// oldest first. Returns how many.
pub async fn sweep(
    tx: &mut Tx,
    now_ms: i64,
    waiting_since_ms: Option<i64>,
    limit: i64,
) -> sqlx::Result<usize> {
    let due: Vec<Order> = sqlx::query_as(
        "SELECT * FROM orders
         WHERE status = 'created' AND sent_at < $1
           AND sent_at + min($3 << min(sweeps, 10), $4) <= $2
         ORDER BY sent_at LIMIT $5",
    )
    // Nothing younger than the first back-off is due, so the index need not be read further than that.
    .bind(waiting_since_ms.unwrap_or(i64::MAX).min(now_ms - BACKOFF_START_MS + 1))
    .bind(now_ms)
    .bind(BACKOFF_START_MS)
    .bind(BACKOFF_MAX_MS)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    let events: Vec<Event> = due.iter().map(Order::announcement).collect();
    let ids: Vec<&str> = due.iter().map(|order| order.id.as_str()).collect();
    sqlx::query(
        "UPDATE orders SET sent_at = $2, sweeps = sweeps + 1
         WHERE id IN (SELECT value FROM json_each($1)) AND status = 'created'",
    )
    .bind(json(&ids))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    outbox::enqueue(tx, &events, now_ms).await?;
    Ok(due.len())
}

/// Sets the back-off of every pending order to its start.
pub async fn reset_backoff(tx: &mut Tx) -> sqlx::Result<()> {
    let reset = "UPDATE orders SET sweeps = 0 WHERE status = 'created' AND sweeps > 0";
    sqlx::query(reset).execute(&mut **tx).await.map(drop)
}

/// The numbers of pending orders that were sent within this time, and whose event is not in the outbox.
///
/// Reads the whole outbox once, event by event, and so never in a write transaction: others would wait for it. Asked by id and not
/// by time: of the orders of one commit, which share it, some may be acknowledged.
pub async fn sent_within(scanner: &SqlitePool, sent_ms: RangeInclusive<i64>) -> sqlx::Result<Vec<i64>> {
    let numbers: String = sqlx::query_scalar(
        "SELECT json_group_array(number) FROM orders
         WHERE status = 'created' AND sent_at BETWEEN $1 AND $2 AND id NOT IN (SELECT order_id FROM outbox)",
    )
    .bind(sent_ms.start())
    .bind(sent_ms.end())
    .fetch_one(scanner)
    .await?;
    from_json(&numbers)
}

/// Orders that were sent by a clock that was ahead. Nobody can tell whether their messages wait, so each is sent once more.
pub fn ahead_of(now_ms: i64) -> RangeInclusive<i64> {
    now_ms + BACKOFF_START_MS + 1..=i64::MAX
}

const MAKE_DUE: &str = "UPDATE orders SET sweeps = 0, sent_at = 0
                        WHERE number IN (SELECT value FROM json_each($1)) AND status = 'created'";

/// Makes these orders due, as far as they are pending.
pub async fn make_due(tx: &mut Tx, numbers: &[i64]) -> sqlx::Result<()> {
    sqlx::query(MAKE_DUE).bind(json(&numbers)).execute(&mut **tx).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::plans::Plans;

    #[tokio::test]
    async fn what_is_made_due_is_found_by_its_number_and_the_outbox_is_not_read_for_it() {
        let plan = Plans::open().await.of(MAKE_DUE).await;
        assert!(plan.contains("SEARCH orders USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(!plan.contains("outbox"), "{plan}");
    }
}
