//! The relay: publishes outbox rows and deletes each only after the stream's PubAck.
//!
//! No PubAck, for whatever reason, means *not sent*: the row stays and is published again with the same
//! `Nats-Msg-Id`. Delivery is therefore at least once; a row is never lost and never skipped.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use async_nats::{HeaderMap, jetstream::message::PublishMessage};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    events::rfc3339, jetstream::Broker, outbox, sqlite::Database, subjects::STREAM, trace::TRACEPARENT,
};

/// Rows published in one step, with all their PubAcks in flight at once.
const BATCH: i64 = 1_000;
/// The outbox is looked at this often even when nobody wakes the relay.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a first failed step; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_START: Duration = Duration::from_millis(100);
/// The longest pause between two failed steps.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Publishes one service's outbox.
#[derive(Clone)]
pub struct Relay {
    database: Database,
    broker: Broker,
    source: String,
    wake: Arc<Notify>,
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The outbox was empty.
    Idle,
    /// All rows of the batch were acknowledged and deleted.
    Sent(usize),
    /// Some rows were not acknowledged and stay.
    Unacknowledged {
        /// Rows that were acknowledged and deleted.
        sent: usize,
        /// Rows that stay.
        kept: usize,
    },
}

impl Relay {
    /// A relay whose events carry `/service` as their `ce-source`.
    pub fn new(database: Database, broker: Broker, service: &str) -> Self {
        Self { database, broker, source: format!("/{service}"), wake: Arc::new(Notify::new()) }
    }

    /// Wakes the relay. Called after each commit that enqueued something.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Relays until `last_call`, then until the outbox is empty or the broker fails.
    ///
    /// `last_call` comes when nothing enqueues any more.
    pub async fn run(&self, last_call: CancellationToken) {
        let mut backoff = BACKOFF_START;
        loop {
            let leaving = last_call.is_cancelled();
            match self.step().await {
                Ok(Relayed::Sent(_)) => backoff = BACKOFF_START,
                Ok(Relayed::Idle) if leaving => return,
                Ok(Relayed::Idle) => self.pause(&last_call, TICK, true).await,
                Ok(Relayed::Unacknowledged { .. }) | Err(_) if leaving => return,
                Ok(Relayed::Unacknowledged { sent, kept }) => {
                    tracing::warn!(
                        sent,
                        kept,
                        "events not acknowledged by the broker; they are published again"
                    );
                    self.pause(&last_call, backoff, false).await;
                    backoff = BACKOFF_MAX.min(backoff * 2);
                }
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "relay step failed; it is repeated");
                    self.pause(&last_call, backoff, false).await;
                    backoff = BACKOFF_MAX.min(backoff * 2);
                }
            }
        }
    }

    /// One step, or [`Relayed::Idle`] while the broker is unreachable: publishing would only fill buffers.
    async fn step(&self) -> Result<Relayed> {
        if self.broker.is_connected() { self.relay_once().await } else { Ok(Relayed::Idle) }
    }

    async fn pause(&self, last_call: &CancellationToken, longest: Duration, wakeable: bool) {
        let mut broker = self.broker.state();
        broker.mark_unchanged();
        tokio::select! {
            () = self.wake.notified(), if wakeable => {}
            _ = broker.changed() => {}
            () = last_call.cancelled() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }

    /// Publishes the oldest rows, waits for their PubAcks, and deletes the rows that got one.
    pub async fn relay_once(&self) -> Result<Relayed> {
        let rows = outbox::oldest(self.database.reader(), BATCH).await.context("read the outbox")?;
        if rows.is_empty() {
            return Ok(Relayed::Idle);
        }
        let (acked, last_sequence) = self.publish(&rows).await;
        let kept = rows.len() - acked.len();
        if !acked.is_empty() {
            self.delete(&acked, last_sequence).await.context("delete relayed rows")?;
        }
        tracing::debug!(sent = acked.len(), kept, "outbox relayed");
        Ok(match kept {
            0 => Relayed::Sent(acked.len()),
            _ => Relayed::Unacknowledged { sent: acked.len(), kept },
        })
    }

    /// The ids that the stream acknowledged, and the highest sequence among the acknowledgements.
    async fn publish(&self, rows: &[outbox::Row]) -> (Vec<i64>, u64) {
        let mut in_flight = FuturesUnordered::new();
        for row in rows {
            match self.broker.context().send_publish(row.subject.clone(), self.message(row)).await {
                Ok(ack) => in_flight.push(async move { (row, ack.await) }),
                Err(error) => {
                    tracing::warn!(order_id = row.order_id, %error, "event not handed to the broker");
                    break;
                }
            }
        }
        let (mut acked, mut last_sequence, mut refused) = (Vec::with_capacity(rows.len()), 0, None);
        while let Some((row, answer)) = in_flight.next().await {
            match answer {
                // A PubAck of another stream would mean that ours does not hold the event. `duplicate` counts:
                // the stream already has this very row.
                Ok(ack) if ack.stream == STREAM => {
                    acked.push(row.id);
                    last_sequence = last_sequence.max(ack.sequence);
                }
                Ok(ack) => refused = Some((row, format!("acknowledged by the stream {}", ack.stream))),
                Err(error) => refused = Some((row, error.to_string())),
            }
        }
        if let Some((row, error)) = refused {
            tracing::warn!(order_id = row.order_id, subject = row.subject, error, "event not acknowledged");
        }
        (acked, last_sequence)
    }

    async fn delete(&self, ids: &[i64], last_sequence: u64) -> sqlx::Result<()> {
        let mut tx = self.database.begin().await?;
        outbox::delete(&mut tx, ids).await?;
        sqlx::query("UPDATE broker_memory SET acked_sequence = max(acked_sequence, $1)")
            .bind(last_sequence as i64)
            .execute(&mut *tx)
            .await?;
        tx.commit().await.inspect_err(|error| self.database.notice(error))
    }

    /// CloudEvents in binary mode: the attributes are headers, the body stays plain JSON.
    ///
    /// Source: the CloudEvents 1.0 NATS protocol binding, section 3.1. `ce-id` is derived from the event, so it
    /// never changes; `Nats-Msg-Id` belongs to the row.
    fn message(&self, row: &outbox::Row) -> PublishMessage {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", format!("{}:{}", row.subject, row.order_id));
        headers.insert("ce-type", row.subject.as_str());
        headers.insert("ce-source", self.source.as_str());
        headers.insert("ce-subject", row.order_id.as_str());
        headers.insert("ce-time", rfc3339(row.event_time));
        headers.insert("ce-datacontenttype", "application/json");
        headers.insert(TRACEPARENT, row.traceparent.as_str());
        headers.insert("Nats-Msg-Id", row.message_id.as_str());
        PublishMessage::build().headers(headers).payload(row.body.clone().into())
    }
}
