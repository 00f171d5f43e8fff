//! Handling a batch: decide, commit, then acknowledge, and find the message at fault where that fails.
//!
//! A batch that fails goes one by one, so that only the message at fault is left. A suspect is handled alone.

use anyhow::{Error, Result};

use super::acknowledge::{acknowledge, give_back};
use super::run::Consumer;
use crate::delivery::dead_letter::store;
use crate::delivery::handler::{Never, Outcome, Panicked};
use crate::delivery::message::{Delivery, Message};
use crate::fail_point;
use crate::storage::{Tx, WriteError};

/// From this delivery on a message is handled alone: it may be what fails its batch.
const ALONE_FROM_ATTEMPT: i64 = 5;
/// At this attempt a message becomes a dead letter before it is handled: it may be what kills the process.
const GIVE_UP_AT_ATTEMPT: i64 = 20;

impl Consumer {
    /// Handles messages that arrived together, the suspects among them one by one.
    pub(super) async fn handle(&self, messages: Vec<Message>) -> Result<()> {
        let (suspects, rest): (Vec<_>, _) =
            messages.into_iter().partition(|message| is_suspect(&message.delivery));
        self.handle_together(&rest).await?;
        for suspect in suspects.chunks(1) {
            self.handle_together(suspect).await?;
        }
        Ok(())
    }

    /// Decides, commits and acknowledges; falls back to one by one.
    async fn handle_together(&self, batch: &[Message]) -> Result<()> {
        let [first, others @ ..] = batch else { return Ok(()) };
        let committed = async {
            let given_up = self.count_attempt(&first.delivery).await?;
            self.commit(batch, given_up).await
        };
        match committed.await {
            Ok(outcomes) => acknowledge(&self.broker, batch, &outcomes).await,
            Err(WriteError::Rejected(error)) if others.is_empty() => self.fail(first, error).await,
            Err(WriteError::Rejected(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(messages = batch.len(), error, "batch failed; one by one");
                for one in batch.chunks(1) {
                    Box::pin(self.handle_together(one)).await?;
                }
                Ok(())
            }
            // No message is at fault. One whose outcome is unknown is found as a repeat if it was stored.
            Err(WriteError::NotStored(error) | WriteError::Unknown(error)) => {
                let (messages, error) = (batch.len(), format!("{error:#}"));
                tracing::warn!(messages, error, "not committed; the messages are delivered again");
                give_back(&self.broker, batch).await
            }
        }
    }

    /// Counts an attempt of a suspect, in a commit of its own. Returns its end once there were too many.
    ///
    /// The broker's number tells a suspect, and no more: it also grows while nothing is tried, and a consumer
    /// reset starts it over.
    async fn count_attempt(&self, delivery: &Delivery) -> Result<Option<Never>, WriteError> {
        if !is_suspect(delivery) {
            return Ok(None);
        }
        let counted = self.database.write(|mut tx| async move {
            let attempts = count(&mut tx, delivery).await?;
            Ok((tx, attempts))
        });
        let attempts = counted.await?;
        let detail = format!("it came to be handled {attempts} times, and none of them ended well");
        let given_up = Never { reason: "too_many_deliveries", detail };
        Ok((attempts >= GIVE_UP_AT_ATTEMPT).then_some(given_up))
    }

    /// One transaction: the handler's effects, their answers, and the dead letters of the batch. With `end`,
    /// its one message becomes a dead letter and is not handled.
    async fn commit(&self, batch: &[Message], end: Option<Never>) -> Result<Vec<Outcome>, WriteError> {
        let outcomes = self.database.write(|mut tx| async move {
            let outcomes = match end {
                Some(never) => vec![Outcome::Never(never)],
                None => {
                    let deliveries = batch.iter().map(|message| &message.delivery).collect();
                    self.handler.decide(&mut tx, deliveries).await?
                }
            };
            for (Message { delivery, .. }, outcome) in batch.iter().zip(&outcomes) {
                if let Outcome::Never(never) = outcome {
                    store::insert(&mut tx, delivery, never).await?;
                }
                if is_suspect(delivery) {
                    forget(&mut tx, delivery).await?;
                }
            }
            fail_point::reach("consumer: decided, not committed");
            Ok((tx, outcomes))
        });
        let outcomes = outcomes.await?;
        fail_point::reach("consumer: committed, not acked");
        Ok(outcomes)
    }

    /// What becomes of the one message at fault: an error may pass, a panic never does.
    async fn fail(&self, message: &Message, error: Error) -> Result<()> {
        let (batch, Delivery { subject, attempt, .. }) = (std::slice::from_ref(message), &message.delivery);
        metrics::counter!("messages_failed_total", "consumer" => self.name()).increment(1);
        match error.downcast() {
            Ok(Panicked(detail)) => {
                tracing::error!(subject, attempt, detail, "the handler panicked on a message");
                let never = Never { reason: "handler_panicked", detail };
                match self.commit(batch, Some(never)).await.map_err(Error::from) {
                    Ok(outcomes) => return acknowledge(&self.broker, batch, &outcomes).await,
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::warn!(
                            subject,
                            error,
                            "no dead letter stored; the message is delivered again"
                        );
                    }
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(subject, attempt, error, "message not handled; it is delivered again");
            }
        }
        give_back(&self.broker, batch).await
    }
}

/// Whether a message was delivered so often that it may be what fails its batch.
fn is_suspect(delivery: &Delivery) -> bool {
    delivery.attempt >= ALONE_FROM_ATTEMPT
}

/// One more in the table `handling_attempts`. Committed before the handling, which may end the process.
async fn count(tx: &mut Tx, delivery: &Delivery) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO handling_attempts (subject, body, attempts) VALUES ($1, $2, $3)
         ON CONFLICT (subject, body) DO UPDATE SET attempts = attempts + 1
         RETURNING attempts",
    )
    .bind(delivery.subject.as_str())
    .bind(delivery.body.as_ref())
    .bind(ALONE_FROM_ATTEMPT)
    .fetch_one(&mut **tx)
    .await
}

/// Forgets a message, in the transaction of its outcome.
async fn forget(tx: &mut Tx, delivery: &Delivery) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM handling_attempts WHERE subject = $1 AND body = $2")
        .bind(delivery.subject.as_str())
        .bind(delivery.body.as_ref())
        .execute(&mut **tx)
        .await
        .map(drop)
}
