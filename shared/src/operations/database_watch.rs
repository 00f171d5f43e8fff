//! Looks at the database once a second, also while nobody uses it: whether its files are in place, and whether
//! it can be written.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::storage::Database;

const EVERY: Duration = Duration::from_secs(1);

/// Watches until `shutdown`. Beside each other: a lock is waited for, and the files are looked at all the same.
pub async fn watch(database: Database, shutdown: CancellationToken) {
    tokio::join!(watch_files(&database, &shutdown), watch_writes(&database, &shutdown));
}

async fn watch_files(database: &Database, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        database.end_if_gone().await;
        pause(shutdown).await;
    }
}

async fn watch_writes(database: &Database, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = database.tend().await {
            tracing::debug!(%error, "database still not writable");
        }
        pause(shutdown).await;
    }
}

async fn pause(shutdown: &CancellationToken) {
    let _ = tokio::time::timeout(EVERY, shutdown.cancelled()).await;
}
