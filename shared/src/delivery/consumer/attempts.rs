//! The table `handling_attempts`: how often the handling of a suspected message was begun.

use crate::delivery::message::Delivery;
use crate::storage::Tx;

/// Counts one more attempt, the first as `first`. Committed before the handling, which may end the process.
pub(super) async fn count(tx: &mut Tx, delivery: &Delivery, first: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO handling_attempts (subject, body, attempts) VALUES ($1, $2, $3)
         ON CONFLICT (subject, body) DO UPDATE SET attempts = attempts + 1
         RETURNING attempts",
    )
    .bind(delivery.subject.as_str())
    .bind(delivery.body.as_ref())
    .bind(first)
    .fetch_one(&mut **tx)
    .await
}

/// Forgets a message, in the transaction of its outcome.
pub(super) async fn forget(tx: &mut Tx, delivery: &Delivery) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM handling_attempts WHERE subject = $1 AND body = $2")
        .bind(delivery.subject.as_str())
        .bind(delivery.body.as_ref())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
