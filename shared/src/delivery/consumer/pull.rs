//! One pull: what arrives of it, in batches.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::StreamExt;

use crate::broker::stream::{Delivered, Deliveries, Durable};
use crate::clock::{Instant, at_once, timeout, timeout_at};
use crate::delivery::message::Message;
use crate::gather;

/// Messages asked for in one pull, and therefore in one transaction at most.
const PULL_MESSAGES: usize = 1_000;
/// So many are handled without waiting for more.
const ENOUGH: usize = 256;
/// A pull ends after this time even when it is not full. A drain waits for the end of the pull, so that no
/// message is delivered to a process that no longer handles it.
pub(super) const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// The end of a pull may be seen so much too early.
const EARLY: Duration = Duration::from_millis(10);
/// A pull that seems to deliver nothing is polled again after this time.
const POLL_AGAIN: Duration = Duration::from_millis(100);
/// The end of a pull comes so late at most.
const LATE: Duration = Duration::from_millis(500);
/// So many swallowed messages are passed by at once.
const SWALLOWED_MAX: usize = 1_000;

/// A pull under way.
pub(super) struct Pull {
    messages: Deliveries,
    started: Instant,
    /// When the batch in hand was complete; `None` before the first.
    batch_at: Option<Instant>,
    /// How many messages were delivered so far.
    pub delivered: usize,
}

impl Pull {
    pub async fn start(durable: &dyn Durable) -> Result<Self> {
        let started = Instant::now();
        let messages = durable.pull(PULL_MESSAGES, PULL_EXPIRES).await?;
        Ok(Self { messages, started, batch_at: None, delivered: 0 })
    }

    /// Waits for one message, then takes what has arrived, and what still arrives while it gathers; `None` at the
    /// end of the pull.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Message>>> {
        let handled_in = self.batch_at.map_or(Duration::ZERO, |at| at.elapsed());
        let arrived = self.arrived();
        let is_busy = arrived.is_some();
        let first = match arrived {
            Some(arrived) => arrived,
            None => self.next().await,
        };
        let Some(first) = first else { return Ok(None) };
        let mut batch = vec![first?.into()];
        while let Some(Some(Ok(message))) = self.arrived() {
            batch.push(message.into());
        }
        if is_busy {
            let until = Instant::now() + gather::pause(handled_in, batch.len(), ENOUGH);
            while batch.len() < ENOUGH && self.take_one(until, &mut batch).await {}
        }
        self.batch_at = Some(Instant::now());
        self.delivered += batch.len();
        Ok(Some(batch))
    }

    /// What has arrived.
    fn arrived(&mut self) -> Option<Option<Result<Delivered>>> {
        at_once(self.messages.next())
    }

    /// Takes a message that has arrived, or arrives until then. It is looked for before the deadline is.
    async fn take_one(&mut self, until: Instant, batch: &mut Vec<Message>) -> bool {
        let Ok(Some(Ok(message))) = timeout_at(until, self.messages.next()).await else { return false };
        batch.push(message.into());
        true
    }

    /// The next message; `None` at the end of the pull, and once that is overdue.
    ///
    /// The client wakes nobody when it swallows a message with the status of a heartbeat, and its pull then
    /// waits too long for its end. So it is polled in between for what waits behind.
    async fn next(&mut self) -> Option<Result<Delivered>> {
        loop {
            if let Ok(next) = timeout(POLL_AGAIN, self.messages.next()).await {
                return next;
            }
            for _ in 0..SWALLOWED_MAX {
                if let Some(next) = self.arrived() {
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
            delivered >= PULL_MESSAGES || self.started.elapsed() >= PULL_EXPIRES - EARLY,
            "a pull ended after {delivered} messages and before its time"
        );
        Ok(())
    }
}
