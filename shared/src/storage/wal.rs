//! A bound for the WAL.
//!
//! SQLite folds the WAL back into the file by itself, but writes it from its start again only at a moment in
//! which nobody reads. While reads overlap there is no such moment, and the WAL grows until the disk is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, SqlitePool};

use crate::storage::connect::BUSY_TIMEOUT;
use crate::storage::suspect::beside;

/// From this size on the WAL is cut back, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// How long readers are waited for at each of two places, in milliseconds. Writes stand still meanwhile; new
/// reads do not.
const PATIENCE_MS: u128 = 500;

/// The bound of one database's WAL.
#[derive(Debug)]
pub(super) struct WalBound {
    database: PathBuf,
    /// The size at which the WAL is cut back the next time, in bytes.
    due: AtomicU64,
}

impl WalBound {
    pub fn of(database: &Path) -> Self {
        Self { database: database.to_owned(), due: AtomicU64::new(MAX_BYTES) }
    }

    /// Cuts the WAL back to nothing once it is too large.
    ///
    /// A read that takes longer, such as a backup's, is not waited for. Then the WAL may become larger by as
    /// much again before writes stand still the next time.
    pub async fn enforce(&self, writer: &SqlitePool) -> sqlx::Result<()> {
        let wal = fs::metadata(beside(&self.database, "-wal")).map_or(0, |metadata| metadata.len());
        if wal < self.due.load(Ordering::Relaxed) {
            return Ok(());
        }
        let is_busy = cut_back(writer).await?;
        let next = if is_busy { wal + MAX_BYTES } else { MAX_BYTES };
        self.due.store(next, Ordering::Relaxed);
        tracing::info!(database = %self.database.display(), bytes = wal, is_busy, "WAL cut back");
        Ok(())
    }
}

/// Returns whether a reader was in the way.
async fn cut_back(writer: &SqlitePool) -> sqlx::Result<bool> {
    let mut writer = writer.acquire().await?;
    sqlx::query(AssertSqlSafe(busy_timeout(PATIENCE_MS))).execute(&mut *writer).await?;
    let checkpoint = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
    sqlx::query(AssertSqlSafe(busy_timeout(BUSY_TIMEOUT.as_millis()))).execute(&mut *writer).await?;
    checkpoint
}

fn busy_timeout(milliseconds: u128) -> String {
    format!("PRAGMA busy_timeout = {milliseconds}")
}
