//! The task that relays: one step after the other. A commit or news of the broker ends the pause between two.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use super::acknowledged::{AcknowledgedRows, DELETE_AFTER};
use super::publish::{Published, publish};
use super::unsendable::set_aside;
use crate::broker::{Broker, BrokerState, Session, stream_memory};
use crate::delivery::outbox;
use crate::fail_point;
use crate::storage::Database;

/// Rows published in one step, with all their PubAcks in flight at once.
const BATCH: i64 = 1_000;
/// Steps follow each other at least this far apart: a larger batch costs hardly more than a small one. The
/// first event after a quiet time is published at once.
const GATHER: Duration = Duration::from_millis(10);
/// The outbox is looked at this often even when no commit wakes the relay.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a first failed step; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_START: Duration = Duration::from_millis(100);
/// The longest pause between two failed steps.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Publishes one service's outbox.
pub struct Relay {
    database: Database,
    broker: Broker,
    /// The session in which rows are published.
    session: Option<Session>,
    /// The highest sequence that its stream has acknowledged.
    acked_sequence: u64,
    acknowledged: AcknowledgedRows,
    /// Rows up to this id are published; the next step starts behind it.
    cursor: i64,
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// There was nothing to publish, or no broker to publish to: it is away, the consumer is another database's,
    /// or the session ended meanwhile.
    Idle,
    /// All rows of the batch were acknowledged, or can never be a message.
    Sent(usize),
    /// Some rows were not acknowledged; they are published again.
    Unacknowledged { sent: usize, kept: usize },
}

impl Relay {
    /// A relay whose events carry the name of the broker's consumer, `/name`, as their `ce-source`.
    pub fn new(database: Database, broker: Broker) -> Self {
        Self {
            database,
            broker,
            session: None,
            acked_sequence: 0,
            acknowledged: AcknowledgedRows::default(),
            cursor: 0,
        }
    }

    /// Steps until `last_call`, then until the outbox is empty or the broker fails.
    ///
    /// `last_call` comes when nothing enqueues any more.
    pub async fn run(mut self, last_call: CancellationToken) {
        let (mut commits, mut broker) = (self.database.commits(), self.broker.state());
        let mut backoff = BACKOFF_START;
        while !last_call.is_cancelled() {
            // Seen before the step looks: what happens during the step wakes the next one.
            commits.mark_unchanged();
            broker.mark_unchanged();
            let (pause, is_idle) = match self.relay_once().await {
                Ok(Relayed::Sent(_)) => {
                    backoff = BACKOFF_START;
                    (GATHER, false)
                }
                Ok(Relayed::Idle) if self.acknowledged.is_empty() => (TICK, true),
                Ok(Relayed::Idle) => (DELETE_AFTER, true),
                failed => {
                    self.report(failed);
                    let pause = backoff;
                    backoff = BACKOFF_MAX.min(backoff * 2);
                    (pause, false)
                }
            };
            tokio::select! {
                _ = commits.changed(), if is_idle => {}
                _ = broker.changed() => {}
                () = last_call.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(error) = self.drain().await {
            let error = format!("{error:#}");
            tracing::warn!(error, "outbox not emptied; it is relayed after the next start");
        }
    }

    /// One step: publishes the oldest rows that are not published yet, and deletes acknowledged ones once
    /// they are due.
    ///
    /// Only while the broker is connected; otherwise it would only fill buffers. Another session may be
    /// another, empty stream: what was in flight or acknowledged in the former one is published again.
    pub async fn relay_once(&mut self) -> Result<Relayed> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        let BrokerState::Connected(session) = &now else { return Ok(Relayed::Idle) };
        let relayed = tokio::select! {
            relayed = self.publish_in(session) => relayed?,
            _ = state.wait_for(|state| *state != now) => return Ok(Relayed::Idle),
        };
        let due = self.acknowledged.is_due() || matches!(relayed, Relayed::Unacknowledged { .. });
        // While the disk is full, acknowledged rows are kept in mind instead of being sent again.
        if due && self.database.is_writable() {
            self.acknowledged.delete(&self.database).await?;
        }
        Ok(relayed)
    }

    /// Publishes the next rows in this session, which begins with a look at what its stream still holds.
    async fn publish_in(&mut self, session: &Session) -> Result<Relayed> {
        if self.session.as_ref() != Some(session) {
            self.acked_sequence = stream_memory::begin_session(&self.database, &self.broker, session).await?;
            fail_point::reach("relay: stream noted, nothing published");
            (self.acknowledged, self.cursor) = Default::default();
            self.session = Some(session.clone());
        }
        self.publish_next().await
    }

    async fn publish_next(&mut self) -> Result<Relayed> {
        let rows = outbox::oldest_after(self.database.reader(), self.cursor, BATCH).await;
        let rows = rows.context("read the outbox")?;
        let Some(last) = rows.last() else { return Ok(Relayed::Idle) };
        let service = self.broker.ownership.consumer;
        let context = self.broker.context();
        let Published { acknowledged, latest, is_truncated, unsendable } =
            publish(&context, service, self.acked_sequence, &rows).await;
        if is_truncated {
            // As in another session: the next step looks at the stream first.
            (self.session, self.acknowledged) = Default::default();
            return Ok(Relayed::Unacknowledged { sent: 0, kept: rows.len() });
        }
        let (sent, kept) = (acknowledged.len(), rows.len() - acknowledged.len() - unsendable.len());
        self.acked_sequence = self.acked_sequence.max(latest.sequence);
        self.acknowledged.add(acknowledged, latest);
        let set_aside = set_aside(&self.database, service, &unsendable).await;
        self.cursor = if kept == 0 && set_aside.is_ok() { last.id } else { 0 };
        set_aside?;
        tracing::debug!(sent, kept, "outbox relayed");
        Ok(if kept == 0 { Relayed::Sent(sent) } else { Relayed::Unacknowledged { sent, kept } })
    }

    fn report(&self, failed: Result<Relayed>) {
        if let Err(error) = &failed {
            self.database.note_failure(error.as_ref());
        }
        let cause = failed.map_or_else(|error| format!("{error:#}"), |relayed| format!("{relayed:?}"));
        tracing::warn!(cause, "not all events relayed; they are published again");
    }

    /// Steps while there is something to publish, and deletes what was acknowledged.
    async fn drain(&mut self) -> Result<()> {
        let ended = loop {
            match self.relay_once().await {
                Ok(Relayed::Sent(_)) => {}
                ended => break ended,
            }
        };
        self.acknowledged.delete(&self.database).await?;
        ended.map(drop)
    }
}
