//! A change of the database for a request that waits. It does not live in the request's future: a client that
//! goes away undoes nothing.

use std::time::Duration;

use super::problem::Problem;
use crate::storage::commit_queue::{Batched, CommitError, CommitQueue};

/// A request waits this long for its commit before the answer is 504.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of `request`, or the problem to answer with.
pub async fn commit<R: Batched>(queue: &CommitQueue<R>, request: R) -> Result<R::Outcome, Problem> {
    let committed = tokio::time::timeout(COMMIT_TIMEOUT, queue.commit(request)).await;
    committed.unwrap_or(Err(CommitError::Unknown)).map_err(|error| match error {
        CommitError::Busy => Problem::Unavailable("too many changes wait; nothing was stored"),
        CommitError::NotStored => Problem::Unavailable("the database is not writable; nothing was stored"),
        CommitError::Rejected => Problem::Internal,
        CommitError::Unknown => Problem::OutcomeUnknown,
    })
}
