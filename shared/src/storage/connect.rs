//! The connections to a database file: one that writes, a few that read, all of them with full durability.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::SqlitePool;
use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::storage::migrations::DELIVERY;
use crate::storage::suspect;
use crate::storage::writer::Writer;

/// Readers beside the one writer; each is a thread.
const READERS: u32 = 4;
/// How long a statement waits for a lock that another connection holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The WAL is folded back into the file after this many pages of 4 KiB.
const CHECKPOINT_PAGES: &str = "4000";
/// The WAL file is cut back to this size, in bytes, after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// The connections to one file.
pub(super) struct Connections {
    pub writer: Writer,
    pub reader: SqlitePool,
    pub scanner: SqlitePool,
}

/// All connections, on a file that is migrated, and checked where it was suspect.
pub(super) async fn connect(path: &Path, own: &Migrator) -> Result<Connections> {
    let writer = Writer::open(options(path)).await;
    let writer = writer.with_context(|| format!("open the database {}", path.display()))?;
    let mut held = writer.take().await?;
    suspect::check(path, &mut held).await?;
    let migrations = DELIVERY.iter().chain(own.iter()).cloned().collect::<Vec<Migration>>();
    // `run` takes what no future that moves between threads may hold.
    let migrated = Migrator::with_migrations(migrations).run_direct(None, &mut *held, false).await;
    migrated.with_context(|| format!("migrate the database {}", path.display()))?;
    drop(held);
    let read_only = |connections| async move {
        let opened = pool(connections).connect_with(options(path).pragma("query_only", "ON")).await;
        opened.with_context(|| format!("open the database {} for reading", path.display()))
    };
    Ok(Connections { writer, reader: read_only(READERS).await?, scanner: read_only(1).await? })
}

/// Connections that stay open, so that the files beside the database stay the same.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Settings of every connection. sqlx sets neither durability nor WAL by itself.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
        // A large statement keeps a journal of its own, in a temporary file from 64 KiB on. A container whose
        // root is read-only has no folder for it.
        .pragma("temp_store", "MEMORY")
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}
