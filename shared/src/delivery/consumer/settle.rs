//! Settling a batch: decide, commit, then acknowledge, and find the message at fault where that fails.
//!
//! Nothing is acknowledged before the commit. A batch that fails goes one by one, so that only the message at fault is left.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use async_nats::jetstream::{AckKind, message::Acker};

use super::{ALONE_FROM_ATTEMPT, Consumer, attempts};
use crate::{
    delivery::{
        dead_letter::store,
        handler::{self, EventHandler, Panicked},
        message::Delivery,
        outcome::{Never, Outcome},
    },
    fail_point,
    storage::{Tx, WriteError},
};

/// At this attempt a message becomes a dead letter before it is handled: it may be what kills the process.
const GIVE_UP_AT_ATTEMPT: i64 = 20;
/// The delay before a message that could not be handled comes again.
const NAK_DELAY: Duration = Duration::from_secs(1);

impl<H: EventHandler> Consumer<H> {
    /// Decides, commits and acknowledges; falls back to one by one, so that only the message at fault is left.
    pub(super) async fn settle(&self, batch: &[Delivery], ackers: &[Acker]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let committed = async {
            let attempts = self.count_attempt(&batch[0]).await?;
            self.commit(batch, attempts).await
        };
        match committed.await {
            Ok(outcomes) => self.acknowledge(batch, ackers, &outcomes).await,
            Err(WriteError::Rejected(error)) if batch.len() == 1 => self.fail(&batch[0], ackers, error).await,
            Err(WriteError::Rejected(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(messages = batch.len(), error, "batch failed; one by one");
                for (delivery, acker) in batch.chunks(1).zip(ackers.chunks(1)) {
                    Box::pin(self.settle(delivery, acker)).await?;
                }
                Ok(())
            }
            // No message is at fault. One whose outcome is unknown is found as a repeat if it was stored.
            Err(WriteError::NotStored(error) | WriteError::Unknown(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    messages = batch.len(),
                    error,
                    "not committed; the messages are delivered again"
                );
                give_back(ackers).await
            }
        }
    }

    /// How often the handling of this message was begun, this time included, as far as it matters: a suspect is handled alone, and
    /// its attempts are counted here, in a commit of their own.
    ///
    /// The broker's number tells a suspect, and no more: it also grows while nothing is tried, and a consumer reset starts it over.
    async fn count_attempt(&self, delivery: &Delivery) -> Result<i64, WriteError> {
        if delivery.attempt < ALONE_FROM_ATTEMPT {
            return Ok(delivery.attempt);
        }
        let noted = self.database.write(|mut tx| async move {
            let attempts = attempts::note(&mut tx, delivery, ALONE_FROM_ATTEMPT).await?;
            Ok((tx, attempts))
        });
        noted.await
    }

    /// What becomes of the one message at fault: an error may pass, a panic never does.
    async fn fail(&self, delivery: &Delivery, ackers: &[Acker], error: Error) -> Result<()> {
        let (subject, attempt) = (&delivery.subject, delivery.attempt);
        metrics::counter!("messages_failed_total", "consumer" => self.name).increment(1);
        match error.downcast() {
            Ok(Panicked(detail)) => {
                tracing::error!(subject, attempt, detail, "the handler panicked on a message");
                self.set_aside(delivery, ackers, Never { reason: "handler_panicked", detail }).await
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(subject, attempt, error, "message not handled; it is delivered again");
                give_back(ackers).await
            }
        }
    }

    /// Makes the message a dead letter, in a transaction of its own.
    async fn set_aside(&self, delivery: &Delivery, ackers: &[Acker], never: Never) -> Result<()> {
        let (batch, outcomes) = (std::slice::from_ref(delivery), &[Outcome::Never(never)]);
        let stored = self.database.write(|mut tx| async move {
            store_dead_letters(&mut tx, batch, outcomes).await?;
            forget_attempts(&mut tx, batch).await?;
            Ok((tx, ()))
        });
        match stored.await.map_err(Error::from) {
            Ok(()) => self.acknowledge(batch, ackers, outcomes).await,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    subject = delivery.subject,
                    error,
                    "no dead letter stored; the message is delivered again"
                );
                give_back(ackers).await
            }
        }
    }

    /// One transaction: the handler's effects, their answers, and the dead letters of the batch.
    async fn commit(&self, batch: &[Delivery], attempts: i64) -> Result<Vec<Outcome>, WriteError> {
        let outcomes = self.database.write(|mut tx| async move {
            let outcomes = self.decide(&mut tx, batch, attempts).await?;
            store_dead_letters(&mut tx, batch, &outcomes).await?;
            forget_attempts(&mut tx, batch).await?;
            fail_point::reach("consumer: decided, not committed");
            Ok((tx, outcomes))
        });
        let outcomes = outcomes.await?;
        fail_point::reach("consumer: committed, not acked");
        Ok(outcomes)
    }

    async fn decide(&self, tx: &mut Tx, batch: &[Delivery], attempts: i64) -> Result<Vec<Outcome>> {
        if attempts < GIVE_UP_AT_ATTEMPT {
            return handler::handle(&self.handler, tx, batch).await;
        }
        let detail = format!("its handling was begun {attempts} times and never ended");
        Ok(vec![Outcome::Never(Never { reason: "too_many_deliveries", detail })])
    }

    /// Acknowledges after the commit. A plain ack suffices: a lost one costs a redelivery, which is a repeat.
    async fn acknowledge(&self, batch: &[Delivery], ackers: &[Acker], outcomes: &[Outcome]) -> Result<()> {
        let mut dead_letters = 0;
        for ((delivery, acker), outcome) in batch.iter().zip(ackers).zip(outcomes) {
            match outcome {
                Outcome::Done(word) => {
                    metrics::counter!("messages_handled_total", "consumer" => self.name, "outcome" => *word)
                        .increment(1);
                    ack(acker, AckKind::Ack).await?;
                }
                Outcome::Never(never) => {
                    dead_letters += 1;
                    self.report(delivery, never);
                    ack(acker, AckKind::Term).await?;
                }
            }
        }
        fail_point::reach("consumer: acked");
        tracing::info!(consumer = self.name, messages = batch.len(), dead_letters, "batch handled");
        Ok(())
    }

    /// Tells of a message that became a dead letter.
    pub(super) fn report(&self, delivery: &Delivery, never: &Never) {
        tracing::warn!(
            subject = delivery.subject,
            reason = never.reason,
            attempt = delivery.attempt,
            "message set aside as a dead letter"
        );
        metrics::counter!("dead_letters_total", "consumer" => self.name, "reason" => never.reason)
            .increment(1);
    }
}

async fn forget_attempts(tx: &mut Tx, batch: &[Delivery]) -> sqlx::Result<()> {
    for suspect in batch.iter().filter(|delivery| delivery.attempt >= ALONE_FROM_ATTEMPT) {
        attempts::forget(tx, suspect).await?;
    }
    Ok(())
}

async fn store_dead_letters(tx: &mut Tx, batch: &[Delivery], outcomes: &[Outcome]) -> sqlx::Result<()> {
    for (delivery, outcome) in batch.iter().zip(outcomes) {
        if let Outcome::Never(never) = outcome {
            store::insert(tx, delivery, never).await?;
        }
    }
    Ok(())
}

/// Has the messages delivered again, after a delay.
pub(super) async fn give_back(ackers: &[Acker]) -> Result<()> {
    for acker in ackers {
        ack(acker, AckKind::Nak(Some(NAK_DELAY))).await?;
    }
    Ok(())
}

async fn ack(acker: &Acker, kind: AckKind) -> Result<()> {
    acker.ack_with(kind).await.map_err(|error| anyhow!(error)).context("acknowledge a message")
}
