//! Redrive: a dead letter is handled once more, as if it were delivered now, or it is discarded.
//!
//! The same event handler decides it, and so the same deduplication. Its effect and the deletion of its row
//! commit in one transaction. That is work for a task, and never for a request's future: a caller who goes away
//! must not leave a commit half-way.

use std::sync::Arc;

use anyhow::Result;

use super::store;
use super::store::DeadLetter;
use crate::broker::Broker;
use crate::delivery::handler::{AnyHandler, Never, Outcome, UNSENDABLE};
use crate::fail_point;
use crate::storage::{Database, Tx, WriteError};

/// Whether what was done is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Commit,
    /// All of it is done and then rolled back.
    DryRun,
}

/// What became of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redriven {
    /// It was handled, and its row is gone. The word is the handler's own.
    Done(&'static str),
    /// It still can never succeed. Its row stays, with one more attempt and the latest reason.
    Dead(Never),
    /// It could not be handled this time, for this reason. Its row stays as it was.
    Failed(String),
    /// There is no such row, or no longer.
    Gone,
}

/// Why there is no result.
#[derive(Debug)]
pub enum RedriveError {
    /// Until this database adopts the consumer, nothing may be decided in it. Nothing was changed.
    NotOwned,
    /// The write has no result. Where nobody can tell, the row is still there exactly if nothing happened.
    NotWritten(WriteError),
}

/// The dead letters of one service. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    database: Database,
    broker: Broker,
    handler: Arc<dyn AnyHandler>,
}

impl DeadLetters {
    /// The dead letters of `database`, which are given to `handler` again.
    pub fn new(database: Database, broker: Broker, handler: Arc<dyn AnyHandler>) -> Self {
        Self { database, broker, handler }
    }

    /// Where they are read.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Handles one again in one transaction, for whoever is named in `by`.
    pub async fn redrive(self, id: i64, mode: Mode, by: String) -> Result<Redriven, RedriveError> {
        if self.broker.is_foreign() {
            return Err(RedriveError::NotOwned);
        }
        let letters = &self;
        let work = |mut tx| async move {
            let redriven = letters.handle(&mut tx, id).await?;
            fail_point::reach("redrive: handled, not committed");
            Ok((tx, redriven))
        };
        let ended = match mode {
            Mode::Commit => self.database.write(work).await,
            Mode::DryRun => self.database.rehearse(work).await,
        };
        fail_point::reach("redrive: committed, not answered");
        let redriven = match ended {
            Ok(redriven) => redriven,
            Err(WriteError::Rejected(error)) => Redriven::Failed(format!("{error:#}")),
            Err(error) => return Err(not_written(id, error)),
        };
        if mode == Mode::Commit {
            report(id, &by, &redriven);
        }
        Ok(redriven)
    }

    /// The handler's effect and what becomes of the row, neither committed.
    async fn handle(&self, tx: &mut Tx, id: i64) -> Result<Redriven> {
        let Some(letter) = store::find(&mut **tx, id).await? else { return Ok(Redriven::Gone) };
        // Never delivered, and so nothing for the handler. What made it unsendable is in the event itself.
        let outcome = if letter.reason == UNSENDABLE {
            Outcome::Never(Never { reason: UNSENDABLE, detail: letter.detail })
        } else {
            self.handler.decide(tx, vec![&letter.delivery()?]).await?.remove(0)
        };
        match outcome {
            Outcome::Done(word) => {
                store::delete(tx, id).await?;
                Ok(Redriven::Done(word))
            }
            Outcome::Never(never) => {
                store::count_attempt(tx, id, &never).await?;
                Ok(Redriven::Dead(never))
            }
        }
    }

    /// Deletes one without its being handled, and returns it. `None` when there is no such row, or no longer.
    pub async fn discard(self, id: i64, by: String) -> Result<Option<DeadLetter>, RedriveError> {
        let found = self.database.write(|mut tx| async move {
            let found = store::find(&mut *tx, id).await?;
            store::delete(&mut tx, id).await?;
            Ok((tx, found))
        });
        let found = found.await.map_err(|error| not_written(id, error))?;
        if let Some(DeadLetter { subject, reason, attempts, body_bytes, .. }) = &found {
            tracing::warn!(
                dead_letter = id,
                by,
                subject,
                reason,
                attempts,
                body_bytes,
                "dead letter discarded"
            );
            metrics::counter!("dead_letters_discarded_total").increment(1);
        }
        Ok(found)
    }
}

/// Told here, since whoever asked may be gone.
fn not_written(id: i64, error: WriteError) -> RedriveError {
    tracing::error!(dead_letter = id, %error, "write for a dead letter failed");
    RedriveError::NotWritten(error)
}

fn report(id: i64, by: &str, redriven: &Redriven) {
    let outcome = match redriven {
        Redriven::Done(effect) => {
            tracing::info!(dead_letter = id, by, effect, "dead letter redriven");
            "done"
        }
        Redriven::Dead(Never { reason, .. }) => {
            tracing::warn!(
                dead_letter = id,
                by,
                reason,
                "dead letter redriven in vain: it can never succeed"
            );
            "dead"
        }
        Redriven::Failed(error) => {
            tracing::error!(dead_letter = id, by, error, "dead letter not redriven; it stays as it was");
            "failed"
        }
        Redriven::Gone => return,
    };
    metrics::counter!("dead_letters_redriven_total", "outcome" => outcome).increment(1);
}
