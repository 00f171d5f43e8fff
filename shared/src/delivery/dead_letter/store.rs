//! The table `dead_letters`: each message exactly as it came, unique by subject and body.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use sqlx::{SqliteExecutor, SqlitePool};

use crate::clock::now_ms;
use crate::delivery::handler::Never;
use crate::delivery::message::Delivery;
use crate::from_row;
use crate::storage::Tx;

/// Of each body a list holds so many bytes at most; a single dead letter has the whole.
const LIST_BODY_BYTES: i64 = 1024;

/// The headers of a message as they are stored: a name may have several values.
type Headers = BTreeMap<String, Vec<String>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// In the order of arrival.
    pub id: i64,
    pub subject: String,
    /// The body as it came; only its beginning in a list.
    pub body: Vec<u8>,
    /// How many bytes the whole body has.
    pub body_bytes: i64,
    /// A JSON object of arrays of strings; `None` in a list.
    pub headers: Option<String>,
    /// One stable word.
    pub reason: String,
    /// The same for a person.
    pub detail: String,
    /// The number of the delivery that ended here first, and one for each delivery and redrive since.
    pub attempts: i64,
    /// Unix milliseconds.
    pub first_seen_at: i64,
    /// Unix milliseconds.
    pub last_seen_at: i64,
}

from_row!(DeadLetter {
    id,
    subject,
    body,
    body_bytes,
    headers,
    reason,
    detail,
    attempts,
    first_seen_at,
    last_seen_at
});

impl DeadLetter {
    /// The message as if it were delivered now.
    pub fn delivery(&self) -> Result<Delivery> {
        let stored = self.headers.as_deref().unwrap_or("{}");
        let stored: Headers = serde_json::from_str(stored).context("read the stored headers")?;
        let mut headers = HeaderMap::new();
        for (name, value) in
            stored.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        {
            let name: HeaderName = name.parse().with_context(|| format!("stored header {name:?}"))?;
            headers.append(name, value.parse::<HeaderValue>().context("value of a stored header")?);
        }
        Ok(Delivery {
            subject: self.subject.clone(),
            body: self.body.clone().into(),
            headers: (!headers.is_empty()).then_some(headers),
            attempt: self.attempts,
        })
    }
}

/// Stores the message in the transaction of its batch. The same subject and body again counts an attempt.
pub async fn insert(tx: &mut Tx, delivery: &Delivery, never: &Never) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO dead_letters
             (subject, body, headers, reason, detail, attempts, first_seen_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (subject, body) DO UPDATE SET
             attempts = attempts + 1, reason = excluded.reason, detail = excluded.detail,
             headers = excluded.headers, last_seen_at = excluded.last_seen_at",
    )
    .bind(delivery.subject.as_str())
    .bind(delivery.body.as_ref())
    .bind(headers_json(delivery.headers.as_ref()))
    .bind(never.reason)
    .bind(&never.detail)
    .bind(delivery.attempt)
    .bind(now_ms())
    .execute(&mut **tx)
    .await
    .map(drop)
}

fn headers_json(headers: Option<&HeaderMap>) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        all.entry(name.as_ref()).or_default().extend(values.iter().map(|value| value.as_str()));
    }
    crate::storage::json(&all)
}

/// The oldest dead letters with an id above `after`, with the beginning of each body and without headers.
pub async fn oldest_after(reader: &SqlitePool, after: i64, limit: i64) -> sqlx::Result<Vec<DeadLetter>> {
    sqlx::query_as(
        "SELECT id, subject, substr(body, 1, $3) AS body, length(body) AS body_bytes, NULL AS headers,
             reason, detail, attempts, first_seen_at, last_seen_at
         FROM dead_letters WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .bind(LIST_BODY_BYTES)
    .fetch_all(reader)
    .await
}

/// The whole of one dead letter; `None` when there is none with this id any more.
pub async fn find(executor: impl SqliteExecutor<'_>, id: i64) -> sqlx::Result<Option<DeadLetter>> {
    sqlx::query_as("SELECT *, length(body) AS body_bytes FROM dead_letters WHERE id = $1")
        .bind(id)
        .fetch_optional(executor)
        .await
}

/// Counts one more attempt that ended here, and why.
pub async fn count_attempt(tx: &mut Tx, id: i64, never: &Never) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE dead_letters SET attempts = attempts + 1, reason = $2, detail = $3, last_seen_at = $4
         WHERE id = $1",
    )
    .bind(id)
    .bind(never.reason)
    .bind(&never.detail)
    .bind(now_ms())
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Deletes one row, in the transaction of what makes it superfluous.
pub async fn delete(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM dead_letters WHERE id = $1").bind(id).execute(&mut **tx).await?;
    Ok(())
}

pub async fn count(reader: &SqlitePool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM dead_letters").fetch_one(reader).await
}
