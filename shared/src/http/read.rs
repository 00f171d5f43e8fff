//! Reading the database for a request that waits.

use std::time::Duration;

use super::problem::Problem;
use crate::storage::Database;

/// A read waits this long for the database before the answer is 503.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The rows of a query that a request waits for, or the problem to answer with. Nothing is read from a damaged file.
pub async fn read<T>(
    database: &Database,
    query: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Problem> {
    if database.is_unusable() {
        return Err(Problem::Unavailable("the database is damaged or gone; the service stops"));
    }
    match tokio::time::timeout(READ_TIMEOUT, query).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            database.note_failure(&error);
            tracing::error!(%error, "read failed");
            Err(Problem::Internal)
        }
        Err(_) => Err(Problem::Unavailable("the database is busy")),
    }
}
