//! Group commit: concurrent requests are committed as one transaction, one fsync for all of them.
//!
//! A batch is whatever waits; there is no linger timer. The queue is bounded, and a full one refuses at once. The
//! transaction never lives in a request's future, so a client that goes away cannot undo or half do a commit.

use shared::{
    events::now_ms,
    fail_point,
    relay::Relay,
    sqlite::Database,
    storage_failure::{StorageFailure, commit_never_happened},
};
use tokio::sync::{mpsc, oneshot};

use super::placement::{self, NewOrder, Placed};

/// Requests committed together, at most.
const BATCH_MAX: usize = 1_000;

/// Why a request has no result.
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

struct Waiting {
    new: NewOrder,
    answer: oneshot::Sender<Result<Placed, Refusal>>,
}

/// The entrance of the queue, cheap to clone. The committer ends when all clones are gone.
#[derive(Clone)]
pub struct CommitQueue {
    sender: mpsc::Sender<Waiting>,
    database: Database,
}

/// The exit of the queue.
pub struct Committer {
    receiver: mpsc::Receiver<Waiting>,
    database: Database,
    relay: Relay,
}

/// A queue with room for `size` requests.
pub fn commit_queue(size: usize, database: Database, relay: Relay) -> (CommitQueue, Committer) {
    let (sender, receiver) = mpsc::channel(size);
    (CommitQueue { sender, database: database.clone() }, Committer { receiver, database, relay })
}

impl CommitQueue {
    /// Joins the queue and waits for the commit. While the database is not writable, refuses at once.
    pub async fn place(&self, new: NewOrder) -> Result<Placed, Refusal> {
        if !self.database.is_writable() {
            return Err(Refusal::NotStored);
        }
        let (answer, result) = oneshot::channel();
        self.sender.try_send(Waiting { new, answer }).map_err(|_| Refusal::Busy)?;
        result.await.unwrap_or(Err(Refusal::Unknown))
    }
}

impl Committer {
    /// Commits batches until every [`CommitQueue`] is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while self.receiver.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let (batch, answers): (Vec<_>, Vec<_>) =
                waiting.drain(..).map(|waiting| (waiting.new, waiting.answer)).unzip();
            let results = commit_batch(&self.database, &batch).await;
            self.relay.wake();
            log(&results);
            for (answer, result) in answers.into_iter().zip(results) {
                // The client may be gone; its order is stored all the same.
                let _ = answer.send(result);
            }
            fail_point::reach("orders: answered");
        }
    }
}

/// Commits the batch in one transaction; when a row spoils it, one by one, so that only that row is refused.
pub async fn commit_batch(database: &Database, batch: &[NewOrder]) -> Vec<Result<Placed, Refusal>> {
    match commit(database, batch).await {
        Ok(placed) => placed.into_iter().map(Ok).collect(),
        Err(Refusal::Rejected) if batch.len() > 1 => {
            tracing::warn!(orders = batch.len(), "batch refused by the database; one by one");
            let mut results = Vec::with_capacity(batch.len());
            for new in batch {
                results.push(
                    commit(database, std::slice::from_ref(new)).await.map(|mut placed| placed.remove(0)),
                );
            }
            results
        }
        Err(refusal) => vec![Err(refusal); batch.len()],
    }
}

async fn commit(database: &Database, batch: &[NewOrder]) -> Result<Vec<Placed>, Refusal> {
    // What had joined the queue before a failure does not wait for its own.
    if !database.is_writable() {
        return Err(Refusal::NotStored);
    }
    let not_stored = |error: &sqlx::Error| {
        database.notice(error);
        tracing::error!(%error, orders = batch.len(), "orders not stored");
    };
    // Without a transaction, for example because somebody else holds the write lock, no row is at fault.
    let mut tx = database.begin().await.map_err(|error| {
        not_stored(&error);
        Refusal::NotStored
    })?;
    let placed = placement::place(&mut tx, batch, now_ms()).await.map_err(|error| {
        not_stored(&error);
        if StorageFailure::of(&error).is_some() { Refusal::NotStored } else { Refusal::Rejected }
    })?;
    fail_point::reach("orders: written, not committed");
    database.commit(tx).await.map_err(|error| {
        if commit_never_happened(&error) {
            not_stored(&error);
            return Refusal::NotStored;
        }
        database.notice(&error);
        tracing::error!(%error, orders = batch.len(), "commit failed; its outcome is unknown");
        Refusal::Unknown
    })?;
    fail_point::reach("orders: committed, not answered");
    Ok(placed)
}

fn log(results: &[Result<Placed, Refusal>]) {
    let mut created = 0;
    for order in results.iter().filter_map(|result| match result {
        Ok(Placed::Created(order)) => Some(order),
        _ => None,
    }) {
        created += 1;
        tracing::debug!(
            order_id = order.id,
            product_id = order.product_id,
            quantity = order.quantity,
            "order created"
        );
    }
    metrics::counter!("orders_created_total").increment(created);
    tracing::info!(created, requests = results.len(), "orders committed");
}
