//! The sweeper: whatever the broker lost, an order that stays `created` has its event sent again.
//!
//! Once the relay has noted a wiped or truncated stream, it sends the events of all pending orders at once.
//! It never floods a broker or an inventory that is merely behind.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::broker::stored_message::StoredMessage;
use shared::broker::{Broker, BrokerState, Session, stream_memory};
use shared::clock;
use shared::clock::{Instant, now_ms};
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED};
use shared::delivery::outbox;
use shared::fail_point;
use shared::storage::Database;
use tokio_util::sync::CancellationToken;

use crate::orders::{pending, placement};

/// The time between two steps.
const EVERY: Duration = Duration::from_secs(1);
/// The time after a step that left something to do: new orders get the writer in between.
const HURRY: Duration = Duration::from_millis(20);
/// Orders swept in one step, at most.
const SWEEP_MAX: usize = 1_000;
/// Lost orders made due in one transaction, at most.
const LOST_MAX: usize = 5_000;
/// While so many events wait in the outbox, nothing is swept: it is the relay that is behind.
const OUTBOX_MAX: i64 = 10_000;
/// Expired idempotency keys forgotten in one step, at most.
const PURGE_MAX: u64 = 1_000;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// The broker is unreachable, or the consumer another database's: nobody can tell what still waits there,
    /// and nothing could be sent.
    BrokerAway,
    /// So many events were enqueued again.
    Enqueued(usize),
}

/// Sweeps the pending orders of one database.
pub struct Sweeper {
    database: Database,
    broker: Broker,
    /// The session in which the back-off was last set to its start.
    session: Option<Session>,
}

impl Sweeper {
    /// A sweeper whose first step counts as a reconnect.
    pub fn new(database: Database, broker: Broker) -> Self {
        Self { database, broker, session: None }
    }

    /// Steps until `shutdown`: once a second, and more often while one step does not take all.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (started, started_ms) = (Instant::now(), now_ms());
        while !shutdown.is_cancelled() {
            let steady_ms = steady(started_ms, started.elapsed(), now_ms());
            let pause = self.step(steady_ms).await.unwrap_or_else(|error| {
                self.database.note_failure(error.as_ref());
                tracing::warn!(error = format!("{error:#}"), "sweep failed; it is repeated");
                EVERY
            });
            clock::pause(pause, &shutdown).await;
        }
    }

    /// A sweep as of now, and the purge of keys by a clock of its own. Returns the pause before the next step.
    async fn step(&mut self, steady_ms: i64) -> Result<Duration> {
        if !self.database.is_writable() {
            return Ok(EVERY);
        }
        let swept = self.sweep_once(now_ms()).await?;
        let purged = self.database.write(|mut tx| async move {
            let purged = placement::purge_expired_keys(&mut tx, steady_ms, PURGE_MAX as i64).await?;
            Ok((tx, purged))
        });
        let is_more = purged.await? == PURGE_MAX || swept == Swept::Enqueued(SWEEP_MAX);
        Ok(if is_more { HURRY } else { EVERY })
    }

    /// One sweep, as of the time `now_ms`.
    pub async fn sweep_once(&mut self, now_ms: i64) -> Result<Swept> {
        if !self.broker.is_connected() {
            return Ok(Swept::BrokerAway);
        }
        self.resend_after_loss().await?;
        self.reset_backoff_in_new_session().await?;
        if outbox::count(self.database.reader()).await? >= OUTBOX_MAX {
            return Ok(Swept::Enqueued(0));
        }
        let waiting_since_ms = self.waiting_since_ms().await?;
        // Of a clock that was ahead, and so of no use. All that was sent since waits behind it.
        if waiting_since_ms.is_some_and(|since| pending::is_ahead(since, now_ms)) {
            return Ok(Swept::Enqueued(0));
        }
        Ok(Swept::Enqueued(self.enqueue_due(now_ms, waiting_since_ms).await?))
    }

    /// Enqueues the events of orders that are due and were last sent before `waiting_since_ms`.
    async fn enqueue_due(&self, now_ms: i64, waiting_since_ms: Option<i64>) -> Result<usize> {
        let ahead = pending::sent_within(self.database.scanner(), pending::ahead_of(now_ms)).await?;
        let written = self.database.write(|mut tx| async move {
            pending::make_due(&mut tx, &ahead).await?;
            let swept = pending::sweep(&mut tx, now_ms, waiting_since_ms, SWEEP_MAX as i64).await?;
            if swept > 0 {
                fail_point::reach("sweeper: swept, not committed");
            }
            Ok((tx, swept))
        });
        let swept = written.await?;
        if swept > 0 {
            fail_point::reach("sweeper: sweep committed");
            tracing::info!(orders = swept, "pending orders are sent again");
            metrics::counter!("orders_swept_total").increment(swept as u64);
        }
        Ok(swept)
    }

    /// What a wiped or truncated stream has lost cannot be told, so every pending order is sent again. Those whose event
    /// is in the outbox are sent anyway: to the present stream.
    ///
    /// Made due in steps, so that new orders get the writer in between.
    async fn resend_after_loss(&self) -> Result<()> {
        if !stream_memory::loss_noted(self.database.reader()).await? {
            return Ok(());
        }
        // Also what was sent by a clock that has been set back since.
        let lost = pending::sent_within(self.database.scanner(), 1..=i64::MAX).await?;
        for some in lost.chunks(LOST_MAX) {
            let written = self.database.write(|mut tx| async move {
                pending::make_due(&mut tx, some).await?;
                Ok((tx, ()))
            });
            written.await?;
        }
        let cleared = self.database.write(|mut tx| async move {
            stream_memory::clear_loss(&mut tx).await?;
            fail_point::reach("sweeper: loss noticed, not committed");
            Ok((tx, ()))
        });
        cleared.await?;
        fail_point::reach("sweeper: loss committed, nothing swept");
        let orders = lost.len();
        tracing::warn!(orders, "messages are lost or in doubt; all pending orders are sent again");
        metrics::counter!("stream_losses_total").increment(1);
        Ok(())
    }

    /// After a reconnect or a restart nobody should have to wait for a back-off that grew before it.
    async fn reset_backoff_in_new_session(&mut self) -> Result<()> {
        let BrokerState::Connected(current) = self.broker.state().borrow().clone() else { return Ok(()) };
        if self.session.as_ref() != Some(&current) {
            let written = self.database.write(|mut tx| async move {
                pending::reset_backoff(&mut tx).await?;
                Ok((tx, ()))
            });
            written.await?;
            self.session = Some(current);
        }
        Ok(())
    }

    /// Since when the oldest event waits, in the outbox or at the inventory's consumer; `None` if none waits.
    async fn waiting_since_ms(&self) -> Result<Option<i64>> {
        let in_outbox = outbox::oldest_enqueued_ms(self.database.reader()).await?;
        let at_consumer =
            self.oldest_owed_ms().await.context("find the oldest message that the inventory owes")?;
        Ok(in_outbox.into_iter().chain(at_consumer).min())
    }

    /// When the oldest message that the inventory's consumer has not acknowledged was enqueued.
    ///
    /// The message's id tells it on this service's own clock; a hand-made message has only the broker's time.
    async fn oldest_owed_ms(&self) -> Result<Option<i64>> {
        let oldest = self.oldest_owed().await?;
        Ok(oldest.map(|message| {
            message.header("Nats-Msg-Id").and_then(outbox::enqueued_ms).unwrap_or(message.time_ms)
        }))
    }

    async fn oldest_owed(&self) -> Result<Option<StoredMessage>> {
        let inventory = self.broker.stream().consumer(INVENTORY_CONSUMER).await?;
        let acked = match inventory.as_ref().map(|consumer| consumer.seen()) {
            Some(state) if state.undelivered == 0 && state.unacknowledged == 0 => return Ok(None),
            Some(state) => state.ack_floor,
            // One that never ran owes every message.
            None => 0,
        };
        self.broker.stream().next_of(ORDER_CREATED, acked + 1).await
    }
}

/// Follows the wall clock backwards only: a clock that jumps ahead expires no key before its time.
fn steady(started_ms: i64, elapsed: Duration, now_ms: i64) -> i64 {
    now_ms.min(started_ms.saturating_add(elapsed.as_millis() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_purges_no_key_and_one_that_is_set_back_purges_none_either() {
        let (started_ms, elapsed) = (1_763_928_000_000, Duration::from_secs(60));
        let due = started_ms + 60_000;
        assert_eq!(steady(started_ms, elapsed, due), due);
        assert_eq!(steady(started_ms, elapsed, due + placement::KEY_LIFETIME_MS), due);
        assert_eq!(steady(started_ms, elapsed, due - 3_600_000), due - 3_600_000);
    }
}
