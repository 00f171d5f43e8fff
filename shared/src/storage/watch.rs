//! The watch over a database, once a second: whether it can be written, and whether its files are in place.
//!
//! While it cannot be written, a real write is tried until one succeeds.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::storage::database::Database;
use crate::storage::failure::StorageFailure;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// What a probe writes, in bytes: about what a full batch of 1,000 orders writes.
const PROBE_BYTES: i64 = 4 << 20;
/// A service whose files are gone tries this long to write what they hold into the file that it has open.
const FOLD_BACK_TIMEOUT: Duration = Duration::from_secs(6);

impl Database {
    /// Watches until `shutdown`.
    pub async fn watch(&self, shutdown: CancellationToken) {
        // Beside each other: a lock is waited for, and the files are looked at all the same.
        tokio::join!(
            step_until(&shutdown, || self.end_if_gone()),
            step_until(&shutdown, || async {
                if let Err(error) = self.check_writable().await {
                    tracing::debug!(%error, "database still not writable");
                }
            }),
        );
    }

    /// Ends the service once the files are no longer the ones that were opened.
    ///
    /// Commits since the latest checkpoint may be in the WAL alone. They are written into the file that is
    /// still open: whoever moved it, or removed only the WAL, finds all of them there, and no WAL that
    /// belongs to another file.
    async fn end_if_gone(&self) {
        if self.is_in_place() || self.is_unusable() {
            return;
        }
        let folded = timeout(FOLD_BACK_TIMEOUT, self.fold_back("PRAGMA wal_checkpoint(TRUNCATE)")).await;
        let whole = if matches!(folded, Ok(Ok(_))) { "whole" } else { "not whole without its WAL" };
        self.end(format!(
            "the database {} was moved, removed or replaced while it was in use; the service stopped. Where \
             its file was moved to, it is {whole}: put it back in its place, or restore a backup, and start \
             again",
            self.path().display()
        ));
    }

    /// Finds out whether it can be written, and bounds the WAL.
    ///
    /// A lock that somebody else holds is noticed also while nobody writes: an empty transaction waits for it
    /// like any other.
    async fn check_writable(&self) -> sqlx::Result<()> {
        if !self.is_writable() {
            return self.probe().await;
        }
        let begun = self.begin().await.inspect_err(|error| {
            // Few wait for the writer, each in its turn: somebody has been writing for all this time.
            if let sqlx::Error::PoolTimedOut = error {
                self.refuse_writes(StorageFailure::Unavailable, error);
            }
        });
        begun?.rollback().await?;
        self.bound_wal().await.inspect_err(|error| self.note_failure(error))
    }

    /// Tries a real write, as is done while it is not writable.
    pub async fn probe(&self) -> sqlx::Result<()> {
        self.write_and_fold_back().await.inspect_err(|error| self.note_failure(error))?;
        if self.is_in_place() && !self.is_unusable() {
            self.note_writable();
        }
        Ok(())
    }

    /// Writes as much as a full batch takes, and folds it back into the file, so that the next batches find
    /// its space in the WAL. Unless somebody reads at this moment, they then need no new space: a disk that
    /// is nearly full does not pass this and fail them, again and again.
    ///
    /// While what is in the WAL finds no room in the file, nothing is added to it. The room that it does find stays with the
    /// file, which needs it in the end; what a failed write took is given back: somebody else waits for the same space.
    async fn write_and_fold_back(&self) -> sqlx::Result<()> {
        self.fold_back("PRAGMA wal_checkpoint(PASSIVE)").await?;
        if let Err(error) = self.write_as_much_as_a_batch().await {
            let _ = self.fold_back("PRAGMA wal_checkpoint(TRUNCATE)").await;
            return Err(error);
        }
        self.fold_back("PRAGMA wal_checkpoint(PASSIVE)").await
    }

    async fn write_as_much_as_a_batch(&self) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("CREATE TABLE probe AS SELECT zeroblob($1) AS filler")
            .bind(PROBE_BYTES)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DROP TABLE probe").execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn fold_back(&self, checkpoint: &'static str) -> sqlx::Result<()> {
        sqlx::query(checkpoint).execute(&mut *self.writer.take().await?).await.map(drop)
    }
}

async fn step_until<F: Future<Output = ()>>(shutdown: &CancellationToken, step: impl Fn() -> F) {
    while !shutdown.is_cancelled() {
        step().await;
        let _ = timeout(EVERY, shutdown.cancelled()).await;
    }
}
