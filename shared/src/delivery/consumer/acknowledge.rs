//! Tells the broker how messages ended, after their commit. Nothing else acknowledges.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, consumer};

use crate::broker::Broker;
use crate::contract::subjects::STREAM;
use crate::delivery::handler::{Never, Outcome};
use crate::delivery::message::{Delivery, Message};
use crate::fail_point;

/// The delay before a message that could not be handled comes again.
const NAK_DELAY: Duration = Duration::from_secs(1);

/// Acknowledges after the commit. A plain ack suffices: a lost one costs a redelivery, which is a repeat.
pub(super) async fn acknowledge(
    consumer: &'static str,
    batch: &[Message],
    outcomes: &[Outcome],
) -> Result<()> {
    let (mut handled, mut dead_letters) = (BTreeMap::new(), 0);
    for (Message { delivery, acker }, outcome) in batch.iter().zip(outcomes) {
        match outcome {
            Outcome::Done(word) => {
                *handled.entry(*word).or_default() += 1;
                ack(acker, AckKind::Ack).await?;
            }
            Outcome::Never(never) => {
                dead_letters += 1;
                report_dead_letter(consumer, delivery, never);
                ack(acker, AckKind::Term).await?;
            }
        }
    }
    for (word, messages) in handled {
        metrics::counter!("messages_handled_total", "consumer" => consumer, "outcome" => word)
            .increment(messages);
    }
    fail_point::reach("consumer: acked");
    tracing::info!(consumer, messages = batch.len(), dead_letters, "batch handled");
    Ok(())
}

/// Has the messages delivered again, after a delay.
pub(super) async fn give_back(batch: &[Message]) -> Result<()> {
    for message in batch {
        ack(&message.acker, AckKind::Nak(Some(NAK_DELAY))).await?;
    }
    Ok(())
}

async fn ack(acker: &Acker, kind: AckKind) -> Result<()> {
    acker.ack_with(kind).await.map_err(|error| anyhow!(error)).context("acknowledge a message")
}

/// Acknowledges a message that nobody received. With explicit acknowledgement the broker goes by the stream
/// sequence alone; the delivery's own number must only be one that was used.
///
/// Source: `ackReplyInfo`, `processAckMsg` and `processNak` in nats-server 2.14.5.
pub(super) async fn acknowledge_by_sequence(
    broker: &Broker,
    consumer: &consumer::Info,
    sequence: u64,
    kind: AckKind,
) -> Result<()> {
    let (name, delivery) = (&consumer.name, consumer.delivered.consumer_sequence);
    let subject = format!("$JS.ACK.{STREAM}.{name}.1.{sequence}.{delivery}.0.0");
    let sent = broker.context().client().publish(subject, kind.into()).await;
    sent.with_context(|| format!("acknowledge the message {sequence}"))
}

/// Tells of a message that became a dead letter.
pub(super) fn report_dead_letter(consumer: &'static str, delivery: &Delivery, never: &Never) {
    let (subject, attempt, reason) = (&delivery.subject, delivery.attempt, never.reason);
    tracing::warn!(subject, reason, attempt, "message set aside as a dead letter");
    metrics::counter!("dead_letters_total", "consumer" => consumer, "reason" => reason).increment(1);
}
