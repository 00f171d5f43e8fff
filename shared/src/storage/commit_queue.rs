//! Group commit: concurrent requests are committed as one transaction, one fsync for all of them.
//!
//! A batch is whatever waits; there is no linger timer. The queue is bounded, and a full one refuses at once. The
//! transaction never lives in a request's future, so a client that goes away cannot undo or half do a commit.

use tokio::sync::{mpsc, oneshot};

use crate::storage::{Database, Tx, WriteError};

/// Requests committed together, at most.
const BATCH_MAX: usize = 1_000;

/// Why a request has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full, or the service drains. Certainly not stored.
    Busy,
    /// The database cannot be written. Certainly not stored.
    NotStored,
    /// The row itself was refused by the database. Certainly not stored.
    Rejected,
    /// COMMIT failed or the answer did not come in time: it may be stored.
    Unknown,
}

/// What is asked for, and how a batch of it is written.
pub trait Request: Send + Sync + Sized + 'static {
    /// What became of one.
    type Outcome: Send + 'static;

    /// Writes the batch. One outcome per request, in the same order.
    fn write(tx: &mut Tx, batch: &[Self]) -> impl Future<Output = sqlx::Result<Vec<Self::Outcome>>> + Send;
}

type Answer<R> = Result<<R as Request>::Outcome, Refusal>;

struct Waiting<R: Request> {
    request: R,
    answer: oneshot::Sender<Answer<R>>,
}

/// The entrance of the queue, cheap to clone.
pub struct CommitQueue<R: Request> {
    sender: mpsc::Sender<Waiting<R>>,
    database: Database,
}

// Derived, it would ask for requests that can be cloned.
impl<R: Request> Clone for CommitQueue<R> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), database: self.database.clone() }
    }
}

/// The exit of the queue.
pub struct Batches<R: Request> {
    receiver: mpsc::Receiver<Waiting<R>>,
    database: Database,
}

/// Requests that waited at the same time, and who waits for each.
pub struct Batch<R: Request> {
    requests: Vec<R>,
    answers: Vec<oneshot::Sender<Answer<R>>>,
    database: Database,
}

/// A queue with room for `size` requests.
pub fn commit_queue<R: Request>(size: usize, database: Database) -> (CommitQueue<R>, Batches<R>) {
    let (sender, receiver) = mpsc::channel(size);
    (CommitQueue { sender, database: database.clone() }, Batches { receiver, database })
}

impl<R: Request> CommitQueue<R> {
    /// Joins the queue and waits for the commit. While the database is not writable, refuses at once.
    pub async fn commit(&self, request: R) -> Answer<R> {
        if !self.database.is_writable() {
            return Err(Refusal::NotStored);
        }
        let (answer, outcome) = oneshot::channel();
        self.sender.try_send(Waiting { request, answer }).map_err(|_| Refusal::Busy)?;
        outcome.await.unwrap_or(Err(Refusal::Unknown))
    }
}

impl<R: Request> Batches<R> {
    /// Waits for requests; `None` once every [`CommitQueue`] is gone and the queue is empty.
    pub async fn next(&mut self) -> Option<Batch<R>> {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        if self.receiver.recv_many(&mut waiting, BATCH_MAX).await == 0 {
            return None;
        }
        let (requests, answers) =
            waiting.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
        Some(Batch { requests, answers, database: self.database.clone() })
    }
}

impl<R: Request> Batch<R> {
    /// Commits it, as [`commit_batch`] does.
    pub async fn commit(&self) -> Vec<Answer<R>> {
        commit_batch(&self.database, &self.requests).await
    }

    /// Tells each who waits what became of its request.
    pub fn answer(self, results: Vec<Answer<R>>) {
        for (answer, result) in self.answers.into_iter().zip(results) {
            // The client may be gone; what it asked for is stored all the same.
            let _ = answer.send(result);
        }
    }
}

/// Commits the batch in one transaction; when a row spoils it, one by one, so that only that row is refused.
pub async fn commit_batch<R: Request>(database: &Database, batch: &[R]) -> Vec<Answer<R>> {
    match commit(database, batch).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(Refusal::Rejected) if batch.len() > 1 => {
            tracing::warn!(requests = batch.len(), "batch refused by the database; one by one");
            let mut results = Vec::with_capacity(batch.len());
            for request in batch.chunks(1) {
                results.push(commit(database, request).await.map(|mut outcomes| outcomes.remove(0)));
            }
            results
        }
        Err(refusal) => batch.iter().map(|_| Err(refusal)).collect(),
    }
}

async fn commit<R: Request>(database: &Database, batch: &[R]) -> Result<Vec<R::Outcome>, Refusal> {
    let written = database.write(|mut tx| async move {
        let outcomes = R::write(&mut tx, batch).await?;
        Ok((tx, outcomes))
    });
    written.await.map_err(|error| {
        let (refusal, outcome, cause) = match error {
            WriteError::NotStored(cause) => (Refusal::NotStored, "not stored", cause),
            WriteError::Rejected(cause) => (Refusal::Rejected, "not stored", cause),
            WriteError::Unknown(cause) => (Refusal::Unknown, "unknown", cause),
        };
        let error = format!("{cause:#}");
        tracing::error!(error, outcome, requests = batch.len(), "requests not committed");
        refusal
    })
}
