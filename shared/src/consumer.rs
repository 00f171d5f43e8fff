//! The consumer: pulls messages, lets an event handler decide them in one transaction, then acknowledges.
//!
//! Each message ends in one of three ways. *Done*: its effect is committed, then it is acked. *Never*: a row in
//! `dead_letters` is committed, then it is terminated. *Later*: nothing was stored, and it is delivered again.
//! One bad message never blocks or fails the rest of its batch. Only this module acknowledges ([`settle`]).

mod settle;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::settle::give_back;
use crate::{
    broker::{Broker, BrokerState, Session},
    delivery::{Batch, EventHandler},
    fail_point,
    relay::Relay,
    sqlite::Database,
};

/// Messages asked for in one pull, and therefore in one transaction at most.
const PULL_MESSAGES: usize = 1_000;
/// A pull ends after this time even when it is not full. A drain waits for the end of the pull, so that no
/// message is delivered to a process that no longer handles it.
const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// Batches follow each other at least this far apart, unless messages are scarce: each costs a commit, and so an
/// fsync, and a larger batch costs hardly more than a small one.
const GATHER: Duration = Duration::from_millis(10);
/// From this delivery on a message is handled alone: it may be what fails its batch.
const ALONE_FROM_ATTEMPT: i64 = 5;
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

/// Which durable consumer feeds which handler.
pub struct Consumer<H> {
    /// The durable consumer's name.
    pub name: &'static str,
    /// The one subject that it receives.
    pub subject: &'static str,
    /// Where effects and dead letters are committed.
    pub database: Database,
    /// Where messages come from.
    pub broker: Broker,
    /// Woken after each commit, since answers may be enqueued.
    pub relay: Relay,
    /// Decides the messages.
    pub handler: H,
}

impl<H: EventHandler> Consumer<H> {
    /// Consumes until `shutdown`; the pull in flight is finished first, and its acks are flushed.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut opened = None;
        while !shutdown.is_cancelled() {
            let Some(session) = self.usable_session(&shutdown).await else { continue };
            match self.open(&session, &mut opened).await {
                Ok(pulls) => self.consume(&pulls, &session, &shutdown).await,
                Err(error) => {
                    self.database.notice(error.as_ref());
                    tracing::warn!(consumer = self.name, error = format!("{error:#}"), "consumer not open");
                    pause(&shutdown).await;
                }
            }
        }
        self.broker.flush().await;
    }

    /// The current session, if the broker is connected and the database writable; otherwise waits a little.
    async fn usable_session(&self, shutdown: &CancellationToken) -> Option<Session> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        match now {
            BrokerState::Connected(session) if self.database.is_writable() => Some(session),
            _ => {
                tokio::select! {
                    _ = state.changed() => {}
                    () = pause(shutdown) => {}
                }
                None
            }
        }
    }

    /// Opens the consumer. In a new session, what was delivered to an earlier one is delivered again at once: to a dead
    /// predecessor, or over a connection that was lost with it.
    async fn open(&self, session: &Session, opened: &mut Option<Session>) -> Result<PullConsumer> {
        let mut pulls = self.broker.open_consumer(self.name, self.subject).await?;
        if opened.as_ref() != Some(session) {
            self.reset_after_progress(&mut pulls).await?;
            *opened = Some(session.clone());
        }
        tracing::info!(consumer = self.name, subject = self.subject, "consuming");
        Ok(pulls)
    }

    /// Resets the consumer unless there was no progress since the latest reset.
    ///
    /// A reset saves the wait for `ack_wait`, but it also starts the delivery counts over. A message that kills
    /// the process at every start would then never reach [`GIVE_UP_AT_ATTEMPT`]. So when the ack floor still
    /// stands where it stood at the latest reset, redelivery is left to `ack_wait`, which counts.
    async fn reset_after_progress(&self, pulls: &mut PullConsumer) -> Result<()> {
        let info = pulls.cached_info();
        let (floor, held) = (info.ack_floor.stream_sequence as i64, info.num_ack_pending);
        let previous: Option<i64> = sqlx::query_scalar("SELECT reset_floor FROM broker_memory")
            .fetch_one(self.database.reader())
            .await?;
        if held == 0 || previous == Some(floor) {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        sqlx::query("UPDATE broker_memory SET reset_floor = $1").bind(floor).execute(&mut *tx).await?;
        tx.commit().await?;
        fail_point::reach("consumer: reset noted, not done");
        pulls.reset(None).await.context("reset the consumer")?;
        fail_point::reach("consumer: reset done");
        tracing::info!(consumer = self.name, held, "unacknowledged messages are delivered again");
        Ok(())
    }

    /// Steps until the session changes, a step fails, or `shutdown`.
    async fn consume(&self, pulls: &PullConsumer, session: &Session, shutdown: &CancellationToken) {
        let current = BrokerState::Connected(session.clone());
        let mut state = self.broker.state();
        while !shutdown.is_cancelled() {
            let step = tokio::select! {
                step = self.consume_once(pulls) => step,
                _ = state.wait_for(|state| *state != current) => return,
            };
            match step {
                Ok(Consumed::Handled(_)) => {}
                Ok(Consumed::NotWritable) => return pause(shutdown).await,
                Err(error) => {
                    tracing::warn!(consumer = self.name, error = format!("{error:#}"), "pull failed");
                    return pause(shutdown).await;
                }
            }
        }
    }

    /// One pull: handles what is there in batches, waiting up to [`PULL_EXPIRES`] for more.
    ///
    /// Dropping the future is safe: what was not acknowledged is delivered again and found as a repeat.
    pub async fn consume_once(&self, pulls: &PullConsumer) -> Result<Consumed> {
        let mut messages = pulls.batch().max_messages(PULL_MESSAGES).expires(PULL_EXPIRES).messages().await?;
        let (mut handled, mut gather_until) = (0, Instant::now());
        while let Some(batch) = next_batch(&mut messages, gather_until).await? {
            gather_until = Instant::now() + GATHER;
            fail_point::reach("consumer: pulled, nothing decided");
            handled += batch.deliveries.len();
            let (suspects, rest) = batch.split_suspects(ALONE_FROM_ATTEMPT);
            self.settle(&rest.deliveries, &rest.ackers).await?;
            for (delivery, acker) in suspects.deliveries.chunks(1).zip(suspects.ackers.chunks(1)) {
                self.settle(delivery, acker).await?;
            }
            if !self.database.is_writable() {
                // What the pull still delivers is given back, too: dropped with it, it would wait for the broker's ack wait.
                while let Some(rest) = next_batch(&mut messages, Instant::now()).await? {
                    give_back(&rest.ackers).await?;
                }
                return Ok(Consumed::NotWritable);
            }
        }
        Ok(Consumed::Handled(handled))
    }
}

/// Waits for one message, then takes what has arrived and what still arrives until `gather_until`; `None` at the
/// end of the pull.
async fn next_batch(messages: &mut pull::Batch, gather_until: Instant) -> Result<Option<Batch>> {
    let Some(first) = messages.next().await else { return Ok(None) };
    let mut batch = Batch::default();
    batch.push(first.map_err(|error| anyhow!(error))?);
    // The future is polled before the deadline is looked at, so what has arrived is taken in any case.
    while let Ok(Some(Ok(message))) = timeout_at(gather_until, messages.next()).await {
        batch.push(message);
    }
    Ok(Some(batch))
}

async fn pause(shutdown: &CancellationToken) {
    let _ = tokio::time::timeout(PAUSE, shutdown.cancelled()).await;
}
