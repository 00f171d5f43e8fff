//! What a database remembers of the stream, and how it notices that the stream has lost messages.
//!
//! Looked at when a session begins, before anything is published in it, and when a sequence is used again: a
//! stream with another creation time was wiped, and one that does not hold the message it acknowledged last was
//! truncated.

use anyhow::{Context, Error, Result};
use sqlx::SqlitePool;

use crate::broker::connection::Broker;
use crate::broker::link::Session;
use crate::storage::{Database, Tx};

/// The message with the highest sequence that the stream acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Its sequence; 0 before the first.
    pub sequence: u64,
    /// Its `Nats-Msg-Id`.
    pub message_id: String,
}

/// Takes note of the session's stream, and of the loss when it has lost messages that it had acknowledged.
///
/// Returns the highest sequence that the present stream has acknowledged; 0 for none. No row that a former
/// stream acknowledged is deleted after this. So whoever reads of the loss can rely on it: what is in the outbox
/// will be published to the present stream, and what is not may be lost.
pub async fn begin_session(database: &Database, broker: &Broker, session: &Session) -> Result<u64> {
    let remembered = "SELECT stream_created, acked_sequence, acked_message_id FROM broker_memory";
    let (stream_created, sequence, message_id): (String, i64, String) =
        sqlx::query_as(remembered).fetch_one(database.reader()).await?;
    let latest = Acknowledged { sequence: sequence as u64, message_id };
    let same = stream_created == session.stream_created;
    if same && holds(broker, &latest).await? {
        return Ok(latest.sequence);
    }
    let noted = database.write(|mut tx| async move {
        sqlx::query(
            "UPDATE broker_memory SET lost = lost OR stream_created <> '', stream_created = $1,
                 acked_sequence = 0, acked_message_id = ''",
        )
        .bind(&session.stream_created)
        .execute(&mut *tx)
        .await?;
        Ok((tx, ()))
    });
    noted.await.map_err(Error::from).context("take note of the stream")?;
    if same {
        tracing::warn!(acked_sequence = latest.sequence, "the stream no longer holds what it acknowledged");
    }
    Ok(0)
}

/// Whether the stream still has `latest`, as far as anybody can tell: before the first there is nothing to
/// look at, and what has expired cannot be looked at.
async fn holds(broker: &Broker, latest: &Acknowledged) -> Result<bool> {
    if latest.sequence == 0 {
        return Ok(true);
    }
    let state = broker.stream().state().await?;
    if latest.sequence < state.first_sequence {
        return Ok(true);
    }
    let found = broker.stream().message(latest.sequence).await?;
    Ok(found.map_or(latest.sequence <= state.last_sequence, |message| {
        latest.message_id.is_empty() || message.header("Nats-Msg-Id") == Some(&latest.message_id)
    }))
}

/// Remembers an acknowledgement, in the transaction that deletes the acknowledged rows.
pub async fn remember(tx: &mut Tx, latest: &Acknowledged) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE broker_memory SET acked_sequence = $1, acked_message_id = $2 WHERE acked_sequence < $1",
    )
    .bind(latest.sequence as i64)
    .bind(&latest.message_id)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Whether a loss was noted that nobody has seen to yet.
pub async fn loss_noted(reader: &SqlitePool) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT lost FROM broker_memory").fetch_one(reader).await
}

/// Crosses the note out, in the transaction that sees to what was lost.
pub async fn clear_loss(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("UPDATE broker_memory SET lost = 0").execute(&mut **tx).await?;
    Ok(())
}
