//! Redrive: a dead letter is handled once more, as if it were delivered now, or it is discarded.
//!
//! The same event handler decides it, and so the same deduplication. Its effect and the deletion of its row
//! commit in one transaction. One task does this, one dead letter after the other: no write transaction lives
//! in a request's future, and one dead letter at fault fails no other.

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};

use super::store;
use super::store::DeadLetter;
use crate::broker::{Broker, BrokerState};
use crate::delivery::handler;
use crate::delivery::handler::EventHandler;
use crate::delivery::outcome::{Never, Outcome, UNSENDABLE};
use crate::fail_point;
use crate::storage::{Database, Tx, WriteError};

/// Requests that wait for the task; further ones wait for room.
const WAITING_MAX: usize = 16;

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

/// What became of a row that was to be discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discarded {
    Done,
    /// There was no such row, or no longer.
    Gone,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveError {
    /// Until this database adopts the consumer, nothing may be decided in it. Nothing was changed.
    NotOwned,
    /// The database cannot be written. Certainly nothing was changed.
    NotNow,
    /// It was begun, and nobody can tell how it ended; the row is still there exactly if nothing happened.
    Unknown,
}

struct Request {
    id: i64,
    /// Who asked, for the log.
    by: String,
    action: Action,
}

enum Action {
    Redrive(Mode, Answer<Redriven>),
    Discard(Answer<Discarded>),
}

type Answer<T> = oneshot::Sender<Result<T, RedriveError>>;

/// The dead letters of one service, cheap to clone. The [`Redriver`] ends when all clones are gone.
#[derive(Clone)]
pub struct DeadLetters {
    database: Database,
    sender: mpsc::Sender<Request>,
}

/// The task that changes them.
pub struct Redriver<H> {
    receiver: mpsc::Receiver<Request>,
    database: Database,
    broker: Broker,
    handler: H,
}

/// The dead letters of `database`, and the task that gives them to `handler` again.
pub fn redriver<H>(database: Database, broker: Broker, handler: H) -> (DeadLetters, Redriver<H>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let letters = DeadLetters { database: database.clone(), sender };
    (letters, Redriver { receiver, database, broker, handler })
}

impl DeadLetters {
    /// Where they are read.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Has one handled again. Once this is called it happens, whether or not anybody waits for the result.
    pub async fn redrive(&self, id: i64, mode: Mode, by: &str) -> Result<Redriven, RedriveError> {
        self.ask(id, by, |answer| Action::Redrive(mode, answer)).await
    }

    /// Has one deleted without its being handled.
    pub async fn discard(&self, id: i64, by: &str) -> Result<Discarded, RedriveError> {
        self.ask(id, by, Action::Discard).await
    }

    async fn ask<T>(
        &self,
        id: i64,
        by: &str,
        action: impl FnOnce(Answer<T>) -> Action,
    ) -> Result<T, RedriveError> {
        let (answer, result) = oneshot::channel();
        let request = Request { id, by: by.to_owned(), action: action(answer) };
        self.sender.send(request).await.map_err(|_| RedriveError::NotNow)?;
        result.await.unwrap_or(Err(RedriveError::Unknown))
    }
}

impl<H: EventHandler> Redriver<H> {
    /// Works until every [`DeadLetters`] is gone.
    pub async fn run(mut self) {
        while let Some(Request { id, by, action }) = self.receiver.recv().await {
            // Whoever asked may be gone; what was done stays done, and is in the log.
            match action {
                Action::Redrive(mode, answer) => {
                    let redriven = self.redrive_once(id, mode).await;
                    if let (Ok(redriven), Mode::Commit) = (&redriven, mode) {
                        report(id, &by, redriven);
                    }
                    let _ = answer.send(redriven);
                }
                Action::Discard(answer) => {
                    let _ = answer.send(self.discard_once(id, &by).await);
                }
            }
        }
    }

    /// Handles one dead letter in one transaction.
    pub async fn redrive_once(&self, id: i64, mode: Mode) -> Result<Redriven, RedriveError> {
        if let BrokerState::Foreign(_) = *self.broker.state().borrow() {
            return Err(RedriveError::NotOwned);
        }
        let work = |mut tx| async move {
            let redriven = self.handle(&mut tx, id).await?;
            fail_point::reach("redrive: handled, not committed");
            Ok((tx, redriven))
        };
        let ended = match mode {
            Mode::Commit => self.database.write(work).await,
            Mode::DryRun => self.database.rehearse(work).await,
        };
        fail_point::reach("redrive: committed, not answered");
        ended.or_else(|error| match error {
            WriteError::NotStored(error) => Err(not_now(&error)),
            WriteError::Rejected(error) => Ok(Redriven::Failed(format!("{error:#}"))),
            WriteError::Unknown(error) => Ok(Redriven::Failed(format!(
                "commit; it happened exactly if the dead letter is gone: {error:#}"
            ))),
        })
    }

    /// The handler's effect and what becomes of the row, neither committed.
    async fn handle(&self, tx: &mut Tx, id: i64) -> Result<Redriven> {
        let Some(letter) = store::find(&mut **tx, id).await? else { return Ok(Redriven::Gone) };
        // Never delivered, and so nothing for the handler. What made it unsendable is in the event itself.
        if letter.reason == UNSENDABLE {
            let never = Never { reason: UNSENDABLE, detail: letter.detail };
            store::count_attempt(tx, id, &never).await?;
            return Ok(Redriven::Dead(never));
        }
        let mut outcomes = handler::handle(&self.handler, tx, &[letter.delivery()?]).await?;
        match outcomes.remove(0) {
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

    async fn discard_once(&self, id: i64, by: &str) -> Result<Discarded, RedriveError> {
        let found = self.database.write(|mut tx| async move {
            let found = store::find(&mut *tx, id).await?;
            store::delete(&mut tx, id).await?;
            Ok((tx, found))
        });
        let found = found.await.map_err(|error| match error {
            WriteError::NotStored(error) => not_now(&error),
            WriteError::Rejected(error) | WriteError::Unknown(error) => {
                let error = format!("{error:#}");
                tracing::error!(dead_letter = id, error, "dead letter perhaps not discarded");
                RedriveError::Unknown
            }
        })?;
        let Some(letter) = found else { return Ok(Discarded::Gone) };
        let DeadLetter { subject, reason, attempts, body_bytes, .. } = letter;
        tracing::warn!(dead_letter = id, by, subject, reason, attempts, body_bytes, "dead letter discarded");
        metrics::counter!("dead_letters_discarded_total").increment(1);
        Ok(Discarded::Done)
    }
}

fn not_now(error: &anyhow::Error) -> RedriveError {
    tracing::warn!(error = format!("{error:#}"), "nothing can be written for a dead letter");
    RedriveError::NotNow
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
