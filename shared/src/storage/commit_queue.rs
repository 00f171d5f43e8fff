//! Group commit: concurrent requests are committed as one transaction, one fsync for all of them.
//!
//! A batch is whatever waits, and what is gathered ([`gather`]). A full queue refuses at once. The transaction never
//! lives in a request's future, so a client that goes away cannot undo or half do a commit.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::{Instant, other_task, timeout_at};
use crate::gather;
use crate::storage::{Database, Tx, WriteError};

/// Requests committed together, at most.
const BATCH_MAX: usize = 1_000;

/// So many are committed without waiting for more, where no more are on their way.
const ENOUGH: usize = 8;

/// Why a request has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    /// The queue is full. Certainly not stored.
    Busy,
    /// The database cannot be written. Certainly not stored.
    NotStored,
    /// The row itself was refused by the database. Certainly not stored.
    Rejected,
    /// COMMIT failed or the answer did not come in time: it may be stored.
    Unknown,
}

/// What is asked for, and how a batch of it is written.
pub trait Batched: Clone + Send + Sync + 'static {
    /// What became of one.
    type Outcome: Send + 'static;

    /// Writes the batch. One outcome per request, in the same order.
    fn write(tx: &mut Tx, batch: &[Self]) -> impl Future<Output = sqlx::Result<Vec<Self::Outcome>>> + Send;

    /// Tells the log and the metrics what became of a batch, before those who wait are told.
    fn report(results: &[Result<Self::Outcome, CommitError>]);
}

type Answer<R> = Result<<R as Batched>::Outcome, CommitError>;

struct Queued<R: Batched> {
    request: R,
    answer: oneshot::Sender<Answer<R>>,
}

/// The entrance of the queue.
#[derive(Clone)]
pub struct CommitQueue<R: Batched> {
    sender: mpsc::Sender<Queued<R>>,
    database: Database,
}

/// A queue with room for `size` requests, and the task that commits them. It ends when every [`CommitQueue`] is
/// gone and the queue is empty.
pub fn commit_queue<R: Batched>(
    size: usize,
    database: Database,
) -> (CommitQueue<R>, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::channel(size);
    (CommitQueue { sender, database: database.clone() }, commit_all(receiver, database))
}

impl<R: Batched> CommitQueue<R> {
    /// Joins the queue and waits for the commit. While the database is not writable, refuses at once.
    pub async fn commit(&self, request: R) -> Answer<R> {
        if !self.database.is_writable() {
            return Err(CommitError::NotStored);
        }
        let (answer, outcome) = oneshot::channel();
        self.sender.try_send(Queued { request, answer }).map_err(|_| CommitError::Busy)?;
        match other_task(outcome).await {
            Ok(outcome) => outcome,
            // The task that commits is gone, and the process goes with it: the connection's end is the answer.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn commit_all<R: Batched>(mut receiver: mpsc::Receiver<Queued<R>>, database: Database) {
    let (mut queued, mut pause, mut enough) = (Vec::with_capacity(BATCH_MAX), Duration::ZERO, ENOUGH);
    while receive(&mut receiver, &mut queued, pause, enough).await {
        let started = Instant::now();
        let (batch, answers): (Vec<_>, Vec<_>) =
            queued.drain(..).map(|Queued { request, answer }| (request, answer)).unzip();
        let results = commit_batch(&database, &batch).await;
        R::report(&results);
        for (answer, result) in answers.into_iter().zip(results) {
            // The client may be gone; what it asked for is stored all the same.
            let _ = answer.send(result);
        }
        // Half of those who come, as far as this batch and whoever waits already tell: not to wait for the slowest.
        enough = ENOUGH.max((batch.len() + receiver.len()) / 2);
        pause = gather::pause(started.elapsed(), receiver.len(), enough);
    }
}

/// Takes what waits, and what comes until enough wait or the pause ends. False when nothing will come any more.
async fn receive<T>(
    receiver: &mut mpsc::Receiver<T>,
    queued: &mut Vec<T>,
    pause: Duration,
    enough: usize,
) -> bool {
    let until = Instant::now() + pause;
    let mut received = other_task(receiver.recv_many(queued, BATCH_MAX)).await;
    // A timer would be waited for up to a millisecond, also where it has no time to run.
    while !pause.is_zero() && received > 0 && queued.len() < enough {
        let more = other_task(receiver.recv_many(queued, BATCH_MAX - queued.len()));
        received = timeout_at(until, more).await.unwrap_or_default();
    }
    !queued.is_empty()
}

/// Commits the batch in one transaction; when a row spoils it, one by one, so that only that row is refused.
pub async fn commit_batch<R: Batched>(database: &Database, batch: &[R]) -> Vec<Answer<R>> {
    match commit(database, batch).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(CommitError::Rejected) if batch.len() > 1 => {
            tracing::warn!(requests = batch.len(), "batch refused by the database; one by one");
            let mut results = Vec::with_capacity(batch.len());
            for request in batch.chunks(1) {
                results.push(commit(database, request).await.map(|mut outcomes| outcomes.remove(0)));
            }
            results
        }
        Err(error) => batch.iter().map(|_| Err(error)).collect(),
    }
}

async fn commit<R: Batched>(database: &Database, batch: &[R]) -> Result<Vec<R::Outcome>, CommitError> {
    let written = database.write(|mut tx| async move {
        let outcomes = R::write(&mut tx, batch).await?;
        Ok((tx, outcomes))
    });
    written.await.map_err(|error| {
        let (told, outcome, cause) = match error {
            WriteError::NotStored(cause) => (CommitError::NotStored, "not stored", cause),
            WriteError::Rejected(cause) => (CommitError::Rejected, "not stored", cause),
            WriteError::Unknown(cause) => (CommitError::Unknown, "unknown", cause),
        };
        let error = format!("{cause:#}");
        tracing::error!(error, outcome, requests = batch.len(), "requests not committed");
        told
    })
}
