//! The database for a request that waits: how long, and what is answered when it fails.

use std::time::Duration;

use tokio::time::timeout;

use super::problem::Problem;
use crate::storage::commit_queue::{Batched, CommitError, CommitQueue};
use crate::storage::{Database, WriteError};

/// A read waits this long for the database before the answer is 503.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// A request waits this long for its commit before the answer is 504.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Certainly nothing was stored.
const NOT_WRITABLE: Problem = Problem::Unavailable("the database is not writable; nothing was stored");

/// The rows of a query, or the problem to answer with. Nothing is read from a damaged file.
pub async fn read<T>(
    database: &Database,
    query: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Problem> {
    if database.is_unusable() {
        return Err(Problem::Unavailable("the database is damaged or gone; the service stops"));
    }
    let busy = |_| Problem::Unavailable("the database is busy");
    timeout(READ_TIMEOUT, query).await.map_err(busy)?.map_err(|error| {
        database.note_failure(&error);
        tracing::error!(%error, "read failed");
        Problem::Internal
    })
}

/// What became of `request`, or the problem to answer with. The commit does not live in the request's future:
/// a client that goes away undoes nothing.
pub async fn commit<R: Batched>(queue: &CommitQueue<R>, request: R) -> Result<R::Outcome, Problem> {
    let committed = timeout(COMMIT_TIMEOUT, queue.commit(request)).await;
    committed.unwrap_or(Err(CommitError::Unknown)).map_err(|error| match error {
        CommitError::Busy => Problem::Unavailable("too many requests wait; nothing was stored"),
        CommitError::NotStored => NOT_WRITABLE,
        CommitError::Rejected => Problem::Internal,
        CommitError::Unknown => Problem::OutcomeUnknown,
    })
}

/// The problem to answer with when a write has no result.
pub fn not_written(error: &WriteError) -> Problem {
    match error {
        WriteError::NotStored(_) => NOT_WRITABLE,
        WriteError::Rejected(_) => Problem::Internal,
        WriteError::Unknown(_) => Problem::OutcomeUnknown,
    }
}
