//! A bound for the WAL.
//!
//! SQLite folds the WAL back into the file by itself, but writes it from its start again only at a moment in which nobody
//! reads. While reads overlap there is no such moment, and the WAL grows until the disk is full.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use sqlx::AssertSqlSafe;

use super::database::{BUSY_TIMEOUT, Database};
use crate::storage::suspect::beside;

/// From this size on the WAL is cut back, in bytes.
const WAL_MAX_BYTES: u64 = 64 << 20;
/// How long readers are waited for at each of two places, in milliseconds. Writes stand still meanwhile; new reads do not.
const PATIENCE_MS: u128 = 500;

/// The size at which the WAL is cut back the next time.
#[derive(Debug)]
pub(super) struct Due(AtomicU64);

impl Default for Due {
    fn default() -> Self {
        Self(AtomicU64::new(WAL_MAX_BYTES))
    }
}

impl Database {
    /// Cuts the WAL back to nothing once it is too large.
    ///
    /// A read that takes longer, such as a backup's, is not waited for. Then the WAL may become larger by as much again before
    /// writes stand still the next time.
    pub(super) async fn bound_wal(&self) -> sqlx::Result<()> {
        let wal = fs::metadata(beside(self.files.path(), "-wal")).map_or(0, |metadata| metadata.len());
        if wal < self.wal_due.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        let is_busy = self.cut_back().await?;
        let next = if is_busy { wal + WAL_MAX_BYTES } else { WAL_MAX_BYTES };
        self.wal_due.0.store(next, Ordering::Relaxed);
        tracing::info!(database = %self.files.path().display(), bytes = wal, is_busy, "WAL cut back");
        Ok(())
    }

    /// Returns whether a reader was in the way.
    async fn cut_back(&self) -> sqlx::Result<bool> {
        let mut writer = self.writer.acquire().await?;
        sqlx::query(AssertSqlSafe(busy_timeout(PATIENCE_MS))).execute(&mut *writer).await?;
        let checkpoint = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
        sqlx::query(AssertSqlSafe(busy_timeout(BUSY_TIMEOUT.as_millis()))).execute(&mut *writer).await?;
        checkpoint
    }
}

fn busy_timeout(milliseconds: u128) -> String {
    format!("PRAGMA busy_timeout = {milliseconds}")
}
