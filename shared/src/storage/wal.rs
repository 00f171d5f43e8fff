//! A bound for the WAL.
//!
//! SQLite folds the WAL back into the file by itself, but writes it from its start again only at a moment in
//! which nobody reads. While reads overlap there is no such moment, and the WAL grows until the disk is full.

use std::fs;
use std::sync::atomic::Ordering;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::storage::beside::beside;
use crate::storage::connect::BUSY_TIMEOUT;
use crate::storage::database::Database;

/// From this size on the WAL is cut back, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// How long readers are waited for at each of two places, in milliseconds. Writes stand still meanwhile; new
/// reads do not.
const PATIENCE_MS: u128 = 500;

impl Database {
    /// Cuts the WAL back to nothing once it is too large.
    ///
    /// A read that takes longer, such as a backup's, is not waited for. Then the WAL may become larger by as
    /// much again before writes stand still the next time.
    pub(super) async fn bound_wal(&self) -> sqlx::Result<()> {
        let wal = fs::metadata(beside(self.path(), "-wal")).map_or(0, |metadata| metadata.len());
        if wal < self.wal_left.load(Ordering::Relaxed) + MAX_BYTES {
            return Ok(());
        }
        let is_busy = cut_back(&mut *self.writer.take().await?).await?;
        self.wal_left.store(if is_busy { wal } else { 0 }, Ordering::Relaxed);
        tracing::info!(database = %self.path().display(), bytes = wal, is_busy, "WAL cut back");
        Ok(())
    }
}

/// Returns whether a reader was in the way.
async fn cut_back(writer: &mut SqliteConnection) -> sqlx::Result<bool> {
    let busy_timeout = |ms: u128| sqlx::query(AssertSqlSafe(format!("PRAGMA busy_timeout = {ms}")));
    busy_timeout(PATIENCE_MS).execute(&mut *writer).await?;
    let checkpoint = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
    busy_timeout(BUSY_TIMEOUT.as_millis()).execute(&mut *writer).await?;
    checkpoint
}
