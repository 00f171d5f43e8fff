//! One SQLite file per service: one write connection, a read-only pool, and full durability.
//!
//! A commit that returned is on disk (`synchronous=FULL`). A second process on the same file is refused ([`files`]),
//! because two writers would each believe in their own relay and consumer. Storage that is full or locked is waited
//! for ([`condition`]); a file that is damaged is [`suspect`](crate::storage::suspect) and ends the process.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    migrate::{Migration, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use super::{condition::Condition, files::Files, wal};
use crate::storage::suspect;

/// A write transaction. It holds the only write connection until it is committed or dropped.
pub type Tx = Transaction<'static, Sqlite>;

/// The delivery tables that both databases have.
static DELIVERY: Migrator = sqlx::migrate!();

/// Readers beside the one writer; each is a thread.
const READERS: u32 = 4;
/// How long a statement waits for a lock that another connection holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The WAL is folded back into the file after this many pages of 4 KiB.
const CHECKPOINT_PAGES: &str = "4000";
/// The WAL file is cut back to this size, in bytes, after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// An open database file.
#[derive(Clone)]
pub struct Database {
    pub(super) writer: SqlitePool,
    reader: SqlitePool,
    pub(super) condition: Arc<Condition>,
    pub(super) wal_due: Arc<wal::Due>,
    pub(super) committed: watch::Sender<()>,
    // The last field, and so dropped after the pools.
    pub(super) files: Arc<Files>,
}

impl Database {
    /// Opens or creates the file, refuses a second process, and applies the delivery tables' migrations and `own`.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self> {
        let files = Files::lock(path)?;
        let connected = connect(files.path(), own).await;
        let (writer, reader) = connected.map_err(|error| suspect::explain(files.path(), error))?;
        files.note_opened()?;
        let database = Self {
            writer,
            reader,
            condition: Arc::new(Condition::good()),
            wal_due: Arc::default(),
            committed: watch::Sender::new(()),
            files: Arc::new(files),
        };
        // Without one, as on a full disk, it is served all the same.
        if let Err(error) = database.stamp().await {
            database.notice(&error);
            tracing::warn!(%error, "the database file has no stamp: whether somebody writes over it is not noticed");
        }
        Ok(database)
    }

    /// Starts a write transaction with `BEGIN IMMEDIATE`, so that it never has to upgrade a read lock. What is to be kept is
    /// written with [`Database::write`].
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let mut begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        if let Err(sqlx::Error::InvalidSavePointStatement) = begun {
            self.replace_writer().await?;
            begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        }
        begun.inspect_err(|error| self.notice(error))
    }

    /// Changes with each commit of [`Database::write`]; several at once may show as one.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.committed.subscribe()
    }

    /// Closes the write connection; the pool opens another one.
    ///
    /// After a full disk or an I/O error SQLite has rolled back by itself. The ROLLBACK that sqlx sends after it then
    /// fails, and sqlx counts the transaction as open for ever: without another connection, none could begin again.
    async fn replace_writer(&self) -> sqlx::Result<()> {
        tracing::debug!("the write connection is replaced");
        self.writer.acquire().await?.close().await
    }

    /// The read-only pool.
    pub fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// Closes both pools, upon which SQLite folds the WAL into the file, and leaves the file to whoever opens it next.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        self.files.unlock();
    }
}

/// The write connection and the readers, on a file that was checked where it is suspect, and that is migrated.
async fn connect(path: &Path, own: &Migrator) -> Result<(SqlitePool, SqlitePool)> {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(path))
        .await
        .with_context(|| format!("open the database {}", path.display()))?;
    suspect::check(path, &writer).await?;
    let migrations = DELIVERY.iter().chain(own.iter()).cloned().collect::<Vec<Migration>>();
    Migrator::with_migrations(migrations)
        .run(&writer)
        .await
        .with_context(|| format!("migrate the database {}", path.display()))?;
    let reader = SqlitePoolOptions::new()
        .max_connections(READERS)
        // One of them is open all the time, so that the files beside the database stay the same.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(path).pragma("query_only", "ON"))
        .await
        .with_context(|| format!("open the database {} for reading", path.display()))?;
    Ok((writer, reader))
}

/// `rows` as the JSON text that `json_each($1)` takes: one bound value for a whole batch, because each
/// statement is a hop to the connection's thread.
pub fn json<T: Serialize>(rows: &T) -> String {
    // Strings, integers, options and arrays of them always have a JSON form.
    serde_json::to_string(rows).unwrap_or_default()
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
        // A large statement keeps a journal of its own, in a temporary file from 64 KiB on. A container whose root is
        // read-only has no folder for it.
        .pragma("temp_store", "MEMORY")
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}
