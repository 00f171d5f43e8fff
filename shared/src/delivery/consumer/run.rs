//! The loop of a durable consumer: pull after pull, while there is a broker and a writable database.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::acknowledge::give_back;
use super::pull::Pull;
use super::reset::Reset;
use super::unreadable::{ANSWERED_WITHIN, Unreadable};
use crate::broker::stream::Durable;
use crate::broker::{Broker, BrokerState};
use crate::clock::{Instant, pause, timeout};
use crate::delivery::handler::AnyHandler;
use crate::fail_point;
use crate::storage::Database;

/// Without a quiet moment, what holds the ack floor back is inspected this often.
const INSPECT_EVERY: Duration = Duration::from_secs(5);
/// The pause after a failed step.
const PAUSE: Duration = Duration::from_millis(500);

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Consumed {
    /// The pull ended; so many messages had been delivered.
    Handled(usize),
    /// The database cannot be written; the messages in hand were given back.
    NotWritable,
}

/// A durable consumer, and what handles its messages.
pub struct Consumer {
    pub(super) database: Database,
    pub(super) broker: Broker,
    pub(super) handler: Arc<dyn AnyHandler>,
}

impl Consumer {
    /// What `handler` decides of the messages that come from `broker` is committed in `database`.
    pub fn new(database: Database, broker: Broker, handler: Arc<dyn AnyHandler>) -> Self {
        Self { database, broker, handler }
    }

    pub(super) fn name(&self) -> &'static str {
        self.broker.ownership.consumer
    }

    /// Consumes until `shutdown`; the pull in flight is finished first, and its acks are flushed.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut reset = Reset::after_a_dead_process();
        while !shutdown.is_cancelled() {
            let Some(current) = self.usable_session(&shutdown).await else { continue };
            let mut state = self.broker.state();
            let consumed = tokio::select! {
                biased;
                // Whatever is under way is dropped: it would wait for what was lost with the connection.
                _ = state.wait_for(|state| *state != current) => {
                    reset.pull_was_dropped();
                    continue;
                }
                consumed = self.consume(&mut reset, &shutdown) => consumed,
            };
            if let Err(error) = consumed {
                self.database.note_failure(error.as_ref());
                let (consumer, error) = (self.name(), format!("{error:#}"));
                tracing::warn!(consumer, error, "not consuming");
                reset.pull_was_dropped();
            }
            pause(PAUSE, &shutdown).await;
        }
        self.broker.flush().await;
    }

    /// The current state, if the broker is connected and the database writable; otherwise waits a little.
    async fn usable_session(&self, shutdown: &CancellationToken) -> Option<BrokerState> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        if matches!(now, BrokerState::Connected(_)) && self.database.is_writable() {
            return Some(now);
        }
        tokio::select! {
            biased;
            _ = state.changed() => {}
            () = pause(PAUSE, shutdown) => {}
        }
        None
    }

    /// Opens the consumer and steps until the database is not writable, a step fails, or `shutdown`.
    ///
    /// In a quiet moment nothing should be owed; what is may be a message that the client has swallowed.
    /// Where there is no quiet moment, such a message would keep the ack floor back, and the sweeper from all
    /// that was sent later.
    async fn consume(&self, reset: &mut Reset, shutdown: &CancellationToken) -> Result<()> {
        let durable = self.broker.open_consumer().await?;
        let unreadable = Unreadable { database: &self.database, broker: &self.broker };
        reset.take_back(&*durable, &unreadable).await?;
        tracing::info!(consumer = self.name(), subject = self.broker.ownership.subject, "consuming");
        let (mut inspected_to, mut inspected_at) = (0, Instant::now());
        while !shutdown.is_cancelled() {
            match self.consume_once(&*durable).await? {
                Consumed::NotWritable => break,
                // An answer that is late is not waited for: the next pull may bring something.
                Consumed::Handled(0) => {
                    if let Ok(now) = timeout(ANSWERED_WITHIN, durable.state()).await {
                        let now = now?;
                        unreadable.set_aside_owed(&now, inspected_to).await?;
                        inspected_to = now.delivered;
                    }
                }
                Consumed::Handled(_) if inspected_at.elapsed() >= INSPECT_EVERY => {
                    unreadable.set_aside_at_the_floor(&*durable).await?;
                    inspected_at = Instant::now();
                }
                Consumed::Handled(_) => {}
            }
        }
        Ok(())
    }

    /// One pull, handled in batches.
    ///
    /// Dropping the future is safe: what was not acknowledged is delivered again and found as a repeat. A
    /// pull that ends before its time is an error.
    pub async fn consume_once(&self, durable: &dyn Durable) -> Result<Consumed> {
        let (mut pull, mut is_writable) = (Pull::start(durable).await?, true);
        while let Some(batch) = pull.next_batch().await? {
            if !is_writable {
                // Dropped with the pull, it would wait for `ack_wait`.
                give_back(&self.broker, &batch).await?;
                continue;
            }
            fail_point::reach("consumer: pulled, nothing decided");
            self.handle(batch).await?;
            is_writable = self.database.is_writable();
        }
        if !is_writable {
            return Ok(Consumed::NotWritable);
        }
        pull.check_end()?;
        Ok(Consumed::Handled(pull.delivered))
    }
}
