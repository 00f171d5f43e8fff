//! The consumer: pulls messages, lets an event handler decide them in one transaction, then acknowledges.
//!
//! Each message ends in one of three ways. *Done*: its effect is committed, then it is acked. *Never*: a row in
//! `dead_letters` is committed, then it is terminated. *Later*: nothing was stored, and it is delivered again.
//! One bad message never blocks or fails the rest of its batch, also where it never arrives ([`unreadable`]). Only this
//! module acknowledges ([`settle`]).

mod attempts;
mod settle;
mod unreadable;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::{
    task::unconstrained,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::settle::give_back;
use crate::{
    broker::{Broker, BrokerState},
    delivery::{handler::EventHandler, message::Batch},
    fail_point,
    storage::Database,
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
/// A pull that seems to deliver nothing is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The end of a pull comes so late at most.
const LATE: Duration = Duration::from_millis(500);
/// So many swallowed messages are passed by at once.
const SWALLOWED_MAX: usize = 1_000;
/// Without a quiet moment, what holds the ack floor back is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the broker may take to say what is owed.
const LOOK_WITHIN: Duration = Duration::from_millis(200);
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

/// Who was given messages that are not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The process before this one.
    DeadProcess,
    /// This process, with a pull that it dropped.
    DroppedPull,
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
    /// Decides the messages.
    pub handler: H,
}

impl<H: EventHandler> Consumer<H> {
    /// Consumes until `shutdown`; the pull in flight is finished first, and its acks are flushed.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut holder = Some(Holder::DeadProcess);
        while !shutdown.is_cancelled() {
            let Some(current) = self.usable_session(&shutdown).await else { continue };
            let mut state = self.broker.state();
            let consumed = tokio::select! {
                consumed = self.consume(&mut holder, &shutdown) => consumed,
                // Whatever is under way is dropped: what was lost with the connection would be waited for in vain.
                _ = state.wait_for(|state| *state != current) => {
                    holder = holder.or(Some(Holder::DroppedPull));
                    continue;
                }
            };
            if let Err(error) = consumed {
                self.database.note_failure(error.as_ref());
                tracing::warn!(consumer = self.name, error = format!("{error:#}"), "not consuming");
                holder = holder.or(Some(Holder::DroppedPull));
            }
            if !shutdown.is_cancelled() {
                pause(&shutdown).await;
            }
        }
        self.broker.flush().await;
    }

    /// The current state, if the broker is connected and the database writable; otherwise waits a little.
    async fn usable_session(&self, shutdown: &CancellationToken) -> Option<BrokerState> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        match now {
            BrokerState::Connected(_) if self.database.is_writable() => Some(now),
            _ => {
                tokio::select! {
                    _ = state.changed() => {}
                    () = pause(shutdown) => {}
                }
                None
            }
        }
    }

    /// Opens the consumer and steps until the database is not writable, a step fails, or `shutdown`.
    ///
    /// In a quiet moment nothing should be owed; what is may be a message that the client has swallowed. Where there is no quiet
    /// moment, such a message would keep the ack floor back, and the sweeper from all that was sent later.
    async fn consume(&self, holder: &mut Option<Holder>, shutdown: &CancellationToken) -> Result<()> {
        let mut pulls = self.broker.open_consumer().await?;
        self.take_back(&mut pulls, holder).await?;
        tracing::info!(consumer = self.name, subject = self.subject, "consuming");
        let (mut looked_at, mut looked) = (0, Instant::now());
        while !shutdown.is_cancelled() {
            match self.consume_once(&pulls).await? {
                Consumed::NotWritable => break,
                // An answer that is late is not waited for: the next pull may bring something.
                Consumed::Handled(0) => {
                    if let Ok(info) = timeout(LOOK_WITHIN, pulls.get_info()).await {
                        let info = info?;
                        self.set_aside_unreadable(&info, looked_at).await?;
                        looked_at = info.delivered.stream_sequence;
                    }
                }
                Consumed::Handled(_) if looked.elapsed() >= LOOK_EVERY => {
                    self.set_aside_at_the_floor(&pulls).await?;
                    looked = Instant::now();
                }
                Consumed::Handled(_) => {}
            }
        }
        Ok(())
    }

    /// Resets the consumer, so that what was delivered and not acknowledged comes again without the wait for `ack_wait`.
    ///
    /// Unless a message among it is unreadable: that one is set aside, and the others are given back one by one, since a reset would
    /// deliver it again together with all that is older and not acknowledged.
    ///
    /// A reset also starts the delivery counts over. A message that kills the process at every start would then never
    /// reach the number at which it is given up. So after a dead process there is no reset without progress since the
    /// latest one; redelivery is then left to `ack_wait`, which counts.
    async fn take_back(&self, pulls: &mut PullConsumer, holder: &mut Option<Holder>) -> Result<()> {
        let info = pulls.cached_info().clone();
        let (floor, held) = (info.ack_floor.stream_sequence as i64, info.num_ack_pending);
        if held > 0 && holder.is_some() && self.set_aside_unreadable(&info, 0).await? {
            *holder = None;
            return Ok(());
        }
        let due = match holder {
            _ if held == 0 => false,
            None => false,
            Some(Holder::DroppedPull) => true,
            Some(Holder::DeadProcess) => self.note_progress(floor).await?,
        };
        if due {
            // From here on it is due, whatever becomes of this attempt.
            *holder = Some(Holder::DroppedPull);
            fail_point::reach("consumer: reset noted, not done");
            pulls.reset(None).await.context("reset the consumer")?;
            fail_point::reach("consumer: reset done");
            tracing::info!(consumer = self.name, held, "unacknowledged messages are delivered again");
        }
        *holder = None;
        Ok(())
    }

    /// Whether the ack floor has moved since the latest reset after a dead process; the database remembers it.
    async fn note_progress(&self, floor: i64) -> Result<bool> {
        let noted = self.database.write(|mut tx| async move {
            let noted = sqlx::query("UPDATE broker_memory SET reset_floor = $1 WHERE reset_floor IS NOT $1")
                .bind(floor)
                .execute(&mut *tx)
                .await?;
            Ok((tx, noted.rows_affected() > 0))
        });
        Ok(noted.await?)
    }

    /// One pull: handles what is there in batches, waiting up to [`PULL_EXPIRES`] for more.
    ///
    /// Dropping the future is safe: what was not acknowledged is delivered again and found as a repeat. A pull that ends before its
    /// time has lost deliveries, and is an error.
    pub async fn consume_once(&self, pulls: &PullConsumer) -> Result<Consumed> {
        let started = Instant::now();
        let mut messages = pulls.batch().max_messages(PULL_MESSAGES).expires(PULL_EXPIRES).messages().await?;
        let (mut handled, mut gather_until) = (0, started);
        let end = started + PULL_EXPIRES + LATE;
        while let Some(batch) = next_batch(&mut messages, gather_until, end).await? {
            gather_until = Instant::now() + GATHER;
            fail_point::reach("consumer: pulled, nothing decided");
            handled += batch.deliveries.len();
            self.settle_suspects_alone(batch).await?;
            if !self.database.is_writable() {
                // What the pull still delivers is given back, too: dropped with it, it would wait for the broker's ack wait.
                while let Some(rest) = next_batch(&mut messages, Instant::now(), end).await? {
                    give_back(&rest.ackers).await?;
                }
                return Ok(Consumed::NotWritable);
            }
        }
        ensure!(
            handled >= PULL_MESSAGES || started.elapsed() >= PULL_EXPIRES - GATHER,
            "a pull ended after {handled} messages and before its time"
        );
        Ok(Consumed::Handled(handled))
    }

    async fn settle_suspects_alone(&self, batch: Batch) -> Result<()> {
        let (suspects, rest) = batch.split_suspects(ALONE_FROM_ATTEMPT);
        self.settle(&rest.deliveries, &rest.ackers).await?;
        for (delivery, acker) in suspects.deliveries.chunks(1).zip(suspects.ackers.chunks(1)) {
            self.settle(delivery, acker).await?;
        }
        Ok(())
    }
}

/// Waits for one message, then takes what has arrived and what still arrives until `gather_until`; `None` at the
/// end of the pull.
async fn next_batch(
    messages: &mut pull::Batch,
    gather_until: Instant,
    end: Instant,
) -> Result<Option<Batch>> {
    let first = next(messages, end).await;
    let Some(first) = first else { return Ok(None) };
    let mut batch = Batch::default();
    batch.push(first.map_err(|error| anyhow!(error))?);
    // The future is polled before the deadline is looked at, so what has arrived is taken in any case.
    while let Ok(Some(Ok(message))) = timeout_at(gather_until, messages.next()).await {
        batch.push(message);
    }
    Ok(Some(batch))
}

/// The next message; `None` at the end of the pull, and once nothing has come until `end`.
///
/// The client forgets to wake whoever waits when it swallows a message with the status of a heartbeat: so what waits behind such
/// messages is looked for in between. A pull in which one was swallowed also waits too long for its end.
async fn next(messages: &mut pull::Batch, end: Instant) -> Option<<pull::Batch as Stream>::Item> {
    loop {
        if let Ok(next) = timeout(LOOK_AGAIN, messages.next()).await {
            return next;
        }
        for _ in 0..SWALLOWED_MAX {
            if let Some(next) = unconstrained(messages.next()).now_or_never() {
                return next;
            }
        }
        if Instant::now() > end {
            return None;
        }
    }
}

async fn pause(shutdown: &CancellationToken) {
    let _ = tokio::time::timeout(PAUSE, shutdown.cancelled()).await;
}
