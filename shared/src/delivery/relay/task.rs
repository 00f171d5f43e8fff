//! The task that relays: one step after the other. New events or news of the broker end the pause between two.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use super::acknowledged::{AcknowledgedBatches, DELETE_AFTER};
use super::publish::{Published, publish};
use crate::broker::stream::Publisher;
use crate::broker::{Broker, BrokerState, Session, stream_memory};
use crate::clock::{Instant, sleep};
use crate::delivery::outbox;
use crate::fail_point;
use crate::gather;
use crate::storage::Database;

/// Events published in one step, with all their PubAcks in flight at once: batches until they have so many.
const ENOUGH: usize = 1_000;
/// The outbox is looked at this often even when nothing wakes the relay.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a first failed step; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_START: Duration = Duration::from_millis(100);
/// The longest pause between two failed steps.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Publishes one service's outbox.
pub struct Relay {
    database: Database,
    broker: Broker,
    /// The session in which events are published, and what publishes them.
    session: Option<(Session, Box<dyn Publisher>)>,
    /// The highest sequence that its stream has acknowledged.
    acked_sequence: u64,
    acknowledged: AcknowledgedBatches,
    /// Batches up to this id are published; the next step starts behind it.
    cursor: i64,
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// There was nothing to publish, or no broker to publish to: it is away, the consumer is another database's,
    /// or the session ended meanwhile.
    Idle,
    /// All events were acknowledged, or can never be a message.
    Sent(usize),
    /// Some events were not acknowledged; their batches are published again.
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
            acknowledged: AcknowledgedBatches::default(),
            cursor: 0,
        }
    }

    /// Steps until `last_call`, then until the outbox is empty or the broker fails.
    ///
    /// `last_call` comes when nothing enqueues any more.
    pub async fn run(mut self, last_call: CancellationToken) {
        let (mut enqueues, mut broker) = (self.database.enqueues(), self.broker.state());
        let mut backoff = BACKOFF_START;
        while !last_call.is_cancelled() {
            // Seen before the step looks: what happens during the step wakes the next one.
            enqueues.mark_unchanged();
            broker.mark_unchanged();
            let started = Instant::now();
            let (pause, is_idle) = match self.relay_once().await {
                Ok(Relayed::Sent(sent)) => {
                    backoff = BACKOFF_START;
                    // Some were left, or came meanwhile.
                    let is_busy = sent >= ENOUGH || enqueues.has_changed().unwrap_or_default();
                    let pause =
                        if is_busy { gather::pause(started.elapsed(), sent, ENOUGH) } else { DELETE_AFTER };
                    (pause, !is_busy)
                }
                Ok(Relayed::Idle) => (if self.acknowledged.is_empty() { TICK } else { DELETE_AFTER }, true),
                failed => {
                    self.report(failed);
                    let pause = backoff;
                    backoff = BACKOFF_MAX.min(backoff * 2);
                    (pause, false)
                }
            };
            tokio::select! {
                biased;
                _ = enqueues.changed(), if is_idle => {}
                _ = broker.changed() => {}
                () = last_call.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        if let Err(error) = self.drain().await {
            let error = format!("{error:#}");
            tracing::warn!(error, "outbox not emptied; it is relayed after the next start");
        }
    }

    /// One step: publishes the oldest batches that are not published yet, and deletes acknowledged ones once
    /// they are due.
    ///
    /// Only while the broker is connected; otherwise it would only fill buffers. Another session may be
    /// another, empty stream: what was in flight or acknowledged in the former one is published again.
    pub async fn relay_once(&mut self) -> Result<Relayed> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        let BrokerState::Connected(session) = &now else { return Ok(Relayed::Idle) };
        let relayed = tokio::select! {
            biased;
            _ = state.wait_for(|state| *state != now) => return Ok(Relayed::Idle),
            relayed = self.publish_in(session) => relayed?,
        };
        let due = self.acknowledged.is_due() || matches!(relayed, Relayed::Unacknowledged { .. });
        // While the disk is full, acknowledged batches are kept in mind instead of being sent again.
        if due && self.database.is_writable() {
            let name = self.name();
            self.acknowledged.delete(&self.database, name, &[]).await?;
        }
        Ok(relayed)
    }

    /// Publishes the next batches in this session, which begins with a look at what its stream still holds.
    async fn publish_in(&mut self, session: &Session) -> Result<Relayed> {
        if self.session.as_ref().is_none_or(|(begun, _)| begun != session) {
            self.session = Some((session.clone(), self.begin(session).await?));
        }
        let batches = outbox::oldest_after(self.database.reader(), self.cursor, ENOUGH).await;
        let batches = batches.context("read the outbox")?;
        let (name, acked_sequence) = (self.name(), self.acked_sequence);
        let (Some(last), Some((_, publisher))) = (batches.last(), &mut self.session) else {
            return Ok(Relayed::Idle);
        };
        let published = publish(&mut **publisher, name, acked_sequence, &batches).await;
        if published.is_truncated {
            // As in another session: the next step looks at the stream first.
            (self.session, self.acknowledged) = Default::default();
            return Ok(Relayed::Unacknowledged { sent: 0, kept: published.sent + published.kept });
        }
        self.note(published, last.id).await
    }

    async fn begin(&mut self, session: &Session) -> Result<Box<dyn Publisher>> {
        self.acked_sequence = stream_memory::begin_session(&self.database, &self.broker, session).await?;
        fail_point::reach("relay: stream noted, nothing published");
        (self.acknowledged, self.cursor) = Default::default();
        self.broker.stream().publisher().await
    }

    /// Takes note of what became of the batches up to `last`.
    async fn note(&mut self, published: Published<'_>, last: i64) -> Result<Relayed> {
        let Published { ended, unsendable, sent, kept, latest, .. } = published;
        self.acked_sequence = self.acked_sequence.max(latest.sequence);
        self.acknowledged.add(ended, latest);
        // Begun anew, unless all goes well.
        self.cursor = 0;
        if !unsendable.is_empty() {
            let name = self.name();
            self.acknowledged.delete(&self.database, name, &unsendable).await?;
        }
        tracing::debug!(sent, kept, "outbox relayed");
        if kept > 0 {
            return Ok(Relayed::Unacknowledged { sent, kept });
        }
        self.cursor = last;
        Ok(Relayed::Sent(sent))
    }

    fn name(&self) -> &'static str {
        self.broker.ownership.consumer
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
        let name = self.name();
        self.acknowledged.delete(&self.database, name, &[]).await?;
        ended.map(drop)
    }
}
