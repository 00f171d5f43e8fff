//! Dead letters: messages that can never succeed, kept with everything needed to understand and redrive them.

use std::collections::BTreeMap;

use async_nats::HeaderMap;

use crate::{delivery::Delivery, events::now_ms, sqlite::Tx};

/// Why a message can never succeed.
#[derive(Debug, Clone)]
pub struct Never {
    /// One stable word, such as `conflicting_result`; it is the metric's label.
    pub reason: &'static str,
    /// The same for a person, with the values that were found.
    pub detail: String,
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
    .await?;
    Ok(())
}

fn headers_json(headers: Option<&HeaderMap>) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        all.entry(name.as_ref()).or_default().extend(values.iter().map(|value| value.as_str()));
    }
    crate::sqlite::json(&all)
}
