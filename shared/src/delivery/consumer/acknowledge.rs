//! Tells the broker how messages ended, after their commit. Nothing else acknowledges.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream::AckKind;

use crate::broker::Broker;
use crate::broker::stream::ConsumerState;
use crate::contract::subjects::STREAM;
use crate::delivery::handler::{Never, Outcome};
use crate::delivery::message::{Delivery, Message};
use crate::fail_point;

/// The delay before a message that could not be handled comes again.
const NAK_DELAY: Duration = Duration::from_secs(1);

/// Acknowledges after the commit. A plain ack suffices: a lost one costs a redelivery, which is a repeat.
pub(super) async fn acknowledge(broker: &Broker, batch: &[Message], outcomes: &[Outcome]) -> Result<()> {
    let consumer = broker.ownership.consumer;
    let (mut ends, mut handled, mut dead_letters) = (Vec::with_capacity(batch.len()), BTreeMap::new(), 0);
    for (Message { delivery, token }, outcome) in batch.iter().zip(outcomes) {
        let kind = match outcome {
            Outcome::Done(word) => {
                *handled.entry(*word).or_default() += 1;
                AckKind::Ack
            }
            Outcome::Never(never) => {
                dead_letters += 1;
                report_dead_letter(consumer, delivery, never);
                AckKind::Term
            }
        };
        ends.push((token.clone(), kind));
    }
    broker.stream().acknowledge(ends).await?;
    for (word, messages) in handled {
        metrics::counter!("messages_handled_total", "consumer" => consumer, "outcome" => word)
            .increment(messages);
    }
    fail_point::reach("consumer: acked");
    tracing::info!(consumer, messages = batch.len(), dead_letters, "batch handled");
    Ok(())
}

/// Has the messages delivered again, after a delay.
pub(super) async fn give_back(broker: &Broker, batch: &[Message]) -> Result<()> {
    let later = |message: &Message| (message.token.clone(), AckKind::Nak(Some(NAK_DELAY)));
    broker.stream().acknowledge(batch.iter().map(later).collect()).await
}

/// Tells how messages ended that nobody received. With explicit acknowledgement the broker goes by the stream
/// sequence alone; the delivery's own number must only be one that was used.
///
/// Source: `ackReplyInfo`, `processAckMsg` and `processNak` in nats-server 2.14.5.
pub(super) async fn acknowledge_by_sequence(
    broker: &Broker,
    consumer: &ConsumerState,
    sequences: impl Iterator<Item = u64>,
    kind: AckKind,
) -> Result<()> {
    let ConsumerState { name, deliveries, .. } = consumer;
    let token = |sequence| format!("$JS.ACK.{STREAM}.{name}.1.{sequence}.{deliveries}.0.0").into();
    broker.stream().acknowledge(sequences.map(|sequence| (token(sequence), kind)).collect()).await
}

/// Tells of a message that became a dead letter.
pub(super) fn report_dead_letter(consumer: &'static str, delivery: &Delivery, never: &Never) {
    let (subject, attempt, reason) = (&delivery.subject, delivery.attempt, never.reason);
    tracing::warn!(subject, reason, attempt, "message set aside as a dead letter");
    metrics::counter!("dead_letters_total", "consumer" => consumer, "reason" => reason).increment(1);
}
