//! What the broker delivers to one consumer, as batches of whatever has arrived.

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use async_nats::jetstream::{self, Message};
use futures_util::{FutureExt, StreamExt};
use shared::contract::subjects::STREAM;
use tokio::task::unconstrained;

/// Messages asked for at once, and so in one batch at most; as many as the services ask for.
const PULL_MESSAGES: usize = 1_000;

pub(super) struct Arrivals(Stream);

impl Arrivals {
    /// Of a consumer that its service has created.
    pub async fn of(context: &jetstream::Context, consumer: &str) -> Result<Self> {
        let found = context.get_consumer_from_stream(consumer, STREAM).await;
        let consumer: PullConsumer = found.with_context(|| format!("there is no consumer {consumer}"))?;
        let messages = consumer.stream().max_messages_per_batch(PULL_MESSAGES).messages().await;
        Ok(Self(messages.context("cannot pull")?))
    }

    /// Waits for one message, and takes what has arrived behind it.
    pub async fn next_batch(&mut self) -> Result<Vec<Message>> {
        let first = self.0.next().await.context("the pull has ended")?;
        let mut batch = vec![first.map_err(|error| anyhow!(error))?];
        self.take_ready(&mut batch)?;
        Ok(batch)
    }

    /// Takes what has arrived, which may be nothing.
    pub fn ready(&mut self) -> Result<Vec<Message>> {
        let mut batch = Vec::new();
        self.take_ready(&mut batch)?;
        Ok(batch)
    }

    fn take_ready(&mut self, batch: &mut Vec<Message>) -> Result<()> {
        // Constrained, a task is told after 128 messages that there are none.
        while batch.len() < PULL_MESSAGES
            && let Some(next) = unconstrained(self.0.next()).now_or_never()
        {
            batch.push(next.context("the pull has ended")?.map_err(|error| anyhow!(error))?);
        }
        Ok(())
    }
}

/// Tells the broker that these are done with.
pub(super) async fn acknowledge(batch: &[Message]) -> Result<()> {
    for message in batch {
        message.ack().await.map_err(|error| anyhow!(error)).context("cannot acknowledge a message")?;
    }
    Ok(())
}
