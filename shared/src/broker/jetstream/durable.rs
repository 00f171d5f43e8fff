//! A durable consumer of the server.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream::consumer::{Info, PullConsumer};
use async_nats::jetstream::{Context, Message};
use futures_util::{FutureExt, StreamExt};

use super::settings;
use crate::broker::stream::{Answer, ConsumerState, Delivered, Deliveries, Durable, Metadata};

pub(super) struct JetStreamConsumer {
    consumer: PullConsumer,
    context: Context,
    seen: ConsumerState,
}

impl JetStreamConsumer {
    pub fn boxed(consumer: PullConsumer, context: Context) -> Box<dyn Durable> {
        let seen = state(consumer.cached_info());
        Box::new(Self { consumer, context, seen })
    }
}

impl Durable for JetStreamConsumer {
    fn seen(&self) -> &ConsumerState {
        &self.seen
    }

    fn state(&self) -> Answer<'_, ConsumerState> {
        async { Ok(state(&self.consumer.get_info().await?)) }.boxed()
    }

    fn update<'a>(&'a self, subject: &'a str, metadata: Metadata) -> Answer<'a, ()> {
        settings::update_consumer(&self.context, &self.consumer, subject, metadata).boxed()
    }

    fn reset(&self, from: Option<u64>) -> Answer<'_, ()> {
        async move {
            self.consumer.clone().reset(from).await.context("reset the consumer")?;
            Ok(())
        }
        .boxed()
    }

    fn pull(&self, messages: usize, expires: Duration) -> Answer<'_, Deliveries> {
        async move {
            let pull = self.consumer.batch().max_messages(messages).expires(expires).messages().await?;
            Ok(pull.map(|arrived| delivered(arrived.map_err(|error| anyhow!(error))?)).boxed())
        }
        .boxed()
    }
}

fn state(info: &Info) -> ConsumerState {
    ConsumerState {
        name: info.name.clone(),
        is_paused: info.paused,
        metadata: info.config.metadata.clone(),
        delivered: info.delivered.stream_sequence,
        deliveries: info.delivered.consumer_sequence,
        ack_floor: info.ack_floor.stream_sequence,
        unacknowledged: info.num_ack_pending,
        undelivered: info.num_pending,
    }
}

fn delivered(message: Message) -> Result<Delivered> {
    let attempt = message.info().map_or(1, |info| info.delivered);
    let message = message.message;
    Ok(Delivered {
        subject: message.subject.to_string(),
        headers: message.headers,
        body: message.payload,
        attempt,
        token: message.reply.context("a delivery that cannot be acknowledged")?,
    })
}
