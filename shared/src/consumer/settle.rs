//! Settling a batch: decide, commit, then acknowledge, and find the message at fault where that fails.
//!
//! Nothing is acknowledged before the commit. A batch that fails goes one by one, so that only the message at fault is left.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::{AckKind, message::Acker};

use super::Consumer;
use crate::{
    dead_letter::{self, Never},
    delivery::{self, Delivery, EventHandler, Failure, Outcome},
    fail_point,
    sqlite::Tx,
};

/// On this delivery a message becomes a dead letter before it is handled: it may be what kills the process.
const GIVE_UP_AT_ATTEMPT: i64 = 20;
/// The delay before a message that could not be handled comes again.
const NAK_DELAY: Duration = Duration::from_secs(1);

impl<H: EventHandler> Consumer<H> {
    /// Decides, commits and acknowledges; falls back to one by one, so that only the message at fault is left.
    pub(super) async fn settle(&self, batch: &[Delivery], ackers: &[Acker]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        // Without a transaction, for example because somebody else holds the write lock, no message is at fault.
        let tx = match self.database.begin().await {
            Ok(tx) => tx,
            Err(error) => {
                tracing::warn!(messages = batch.len(), %error, "no transaction; the messages are delivered again");
                return give_back(ackers).await;
            }
        };
        match self.commit(tx, batch).await {
            Ok(outcomes) => self.acknowledge(batch, ackers, &outcomes).await,
            Err(_) if !self.database.is_writable() => give_back(ackers).await,
            Err(failure) if batch.len() == 1 => self.fail(&batch[0], ackers, failure).await,
            Err(failure) => {
                tracing::warn!(messages = batch.len(), error = %failure, "batch failed; one by one");
                for (delivery, acker) in batch.chunks(1).zip(ackers.chunks(1)) {
                    Box::pin(self.settle(delivery, acker)).await?;
                }
                Ok(())
            }
        }
    }

    /// What becomes of the one message at fault: an error may pass, a panic never does.
    async fn fail(&self, delivery: &Delivery, ackers: &[Acker], failure: Failure) -> Result<()> {
        let (subject, attempt) = (&delivery.subject, delivery.attempt);
        metrics::counter!("messages_failed_total", "consumer" => self.name).increment(1);
        match failure {
            Failure::Error(error) => {
                let error = format!("{error:#}");
                tracing::error!(subject, attempt, error, "message not handled; it is delivered again");
                give_back(ackers).await
            }
            Failure::Panicked(detail) => {
                tracing::error!(subject, attempt, detail, "the handler panicked on a message");
                self.set_aside(delivery, ackers, Never { reason: "handler_panicked", detail }).await
            }
        }
    }

    /// Makes the message a dead letter, in a transaction of its own.
    async fn set_aside(&self, delivery: &Delivery, ackers: &[Acker], never: Never) -> Result<()> {
        let (batch, outcomes) = (std::slice::from_ref(delivery), [Outcome::Never(never)]);
        let stored = async {
            let mut tx = self.database.begin().await?;
            store_dead_letters(&mut tx, batch, &outcomes).await?;
            tx.commit().await
        };
        match stored.await {
            Ok(()) => self.acknowledge(batch, ackers, &outcomes).await,
            Err(error) => {
                self.database.notice(&error);
                tracing::warn!(subject = delivery.subject, %error, "no dead letter stored; the message is delivered again");
                give_back(ackers).await
            }
        }
    }

    /// One transaction: the handler's effects, their answers, and the dead letters of the batch.
    async fn commit(&self, mut tx: Tx, batch: &[Delivery]) -> Result<Vec<Outcome>, Failure> {
        let outcomes = if batch[0].attempt >= GIVE_UP_AT_ATTEMPT {
            vec![Outcome::Never(Never {
                reason: "too_many_deliveries",
                detail: format!("delivered {} times without being handled", batch[0].attempt),
            })]
        } else {
            delivery::handle(&self.handler, &mut tx, batch)
                .await
                .inspect_err(|failure| self.notice(failure))?
        };
        let committed = async {
            store_dead_letters(&mut tx, batch, &outcomes).await?;
            fail_point::reach("consumer: decided, not committed");
            self.database.commit(tx).await
        };
        committed.await.map_err(|error| {
            self.database.notice(&error);
            Failure::Error(error.into())
        })?;
        fail_point::reach("consumer: committed, not acked");
        self.relay.wake();
        Ok(outcomes)
    }

    fn notice(&self, failure: &Failure) {
        if let Failure::Error(error) = failure {
            self.database.notice(error.as_ref());
        }
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
                    tracing::warn!(
                        subject = delivery.subject,
                        reason = never.reason,
                        detail = never.detail,
                        attempt = delivery.attempt,
                        "message set aside as a dead letter"
                    );
                    metrics::counter!("dead_letters_total", "consumer" => self.name, "reason" => never.reason)
                        .increment(1);
                    ack(acker, AckKind::Term).await?;
                }
            }
        }
        fail_point::reach("consumer: acked");
        tracing::info!(consumer = self.name, messages = batch.len(), dead_letters, "batch handled");
        Ok(())
    }
}

async fn store_dead_letters(tx: &mut Tx, batch: &[Delivery], outcomes: &[Outcome]) -> sqlx::Result<()> {
    for (delivery, outcome) in batch.iter().zip(outcomes) {
        if let Outcome::Never(never) = outcome {
            dead_letter::insert(tx, delivery, never).await?;
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
