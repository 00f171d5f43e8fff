//! One pull: what arrives of it, in batches.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout, timeout_at};

use crate::delivery::message::Message;

/// Messages asked for in one pull, and therefore in one transaction at most.
const PULL_MESSAGES: usize = 1_000;
/// A pull ends after this time even when it is not full. A drain waits for the end of the pull, so that no
/// message is delivered to a process that no longer handles it.
pub(super) const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// Batches follow each other at least this far apart, unless messages are scarce: each costs a commit, and so
/// an fsync, and a larger batch costs hardly more than a small one.
const GATHER: Duration = Duration::from_millis(10);
/// A pull that seems to deliver nothing is polled again after this time.
const POLL_AGAIN: Duration = Duration::from_millis(100);
/// The end of a pull comes so late at most.
const LATE: Duration = Duration::from_millis(500);
/// So many swallowed messages are passed by at once.
const SWALLOWED_MAX: usize = 1_000;

/// A pull under way.
pub(super) struct Pull {
    messages: pull::Batch,
    started: Instant,
    gather_until: Instant,
    /// How many messages were delivered so far.
    pub delivered: usize,
}

impl Pull {
    pub async fn start(pulls: &PullConsumer) -> Result<Self> {
        let started = Instant::now();
        let messages = pulls.batch().max_messages(PULL_MESSAGES).expires(PULL_EXPIRES).messages().await?;
        Ok(Self { messages, started, gather_until: started, delivered: 0 })
    }

    /// Waits for one message, then takes what has arrived and what still arrives until [`GATHER`] after the
    /// batch before; `None` at the end of the pull.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Message>>> {
        let Some(first) = self.next().await else { return Ok(None) };
        let mut batch = vec![first.map_err(|error| anyhow!(error))?.into()];
        // The future is polled before the deadline is checked, so what has arrived is taken in any case.
        while let Ok(Some(Ok(message))) = timeout_at(self.gather_until, self.messages.next()).await {
            batch.push(message.into());
        }
        self.gather_until = Instant::now() + GATHER;
        self.delivered += batch.len();
        Ok(Some(batch))
    }

    /// The next message; `None` at the end of the pull, and once that is overdue.
    ///
    /// The client wakes nobody when it swallows a message with the status of a heartbeat, and its pull then
    /// waits too long for its end. So it is polled in between for what waits behind.
    async fn next(&mut self) -> Option<<pull::Batch as Stream>::Item> {
        loop {
            if let Ok(next) = timeout(POLL_AGAIN, self.messages.next()).await {
                return next;
            }
            for _ in 0..SWALLOWED_MAX {
                if let Some(next) = unconstrained(self.messages.next()).now_or_never() {
                    return next;
                }
            }
            if self.started.elapsed() > PULL_EXPIRES + LATE {
                return None;
            }
        }
    }

    /// A pull that ends before its time has lost deliveries.
    pub fn check_end(&self) -> Result<()> {
        let delivered = self.delivered;
        ensure!(
            delivered >= PULL_MESSAGES || self.started.elapsed() >= PULL_EXPIRES - GATHER,
            "a pull ended after {delivered} messages and before its time"
        );
        Ok(())
    }
}
