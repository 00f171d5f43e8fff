//! One SQLite file per service: one write connection, a read-only pool, and full durability.
//!
//! A commit that returned is on disk (`synchronous=FULL`). A second process on the same file is refused by a
//! lock on `<file>.lock`, because two writers would each believe in their own relay and consumer.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    migrate::{Migration, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// A write transaction. It holds the only write connection until it is committed or dropped.
pub type Tx = Transaction<'static, Sqlite>;

/// The delivery tables that both databases have.
static DELIVERY: Migrator = sqlx::migrate!();

/// Readers beside the one writer; each is a thread.
const READERS: u32 = 4;
/// How long a statement waits for a lock that another connection holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The WAL is folded back into the file after this many pages of 4 KiB.
const CHECKPOINT_PAGES: &str = "4000";
/// The WAL file is cut back to this size, in bytes, after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// An open database file.
#[derive(Clone)]
pub struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    writable: Arc<AtomicBool>,
    // Held for as long as any clone lives: the operating system releases it with the last one.
    _lock: Arc<File>,
}

impl Database {
    /// Opens or creates the file, refuses a second process, and applies the delivery tables' migrations and `own`.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("create the folder {}", folder.display()))?;
        }
        let lock = lock(path)?;
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options(path).create_if_missing(true))
            .await
            .with_context(|| format!("open the database {}", path.display()))?;
        let migrations = DELIVERY.iter().chain(own.iter()).cloned().collect::<Vec<Migration>>();
        Migrator::with_migrations(migrations)
            .run(&writer)
            .await
            .with_context(|| format!("migrate the database {}", path.display()))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(options(path).pragma("query_only", "ON"))
            .await
            .with_context(|| format!("open the database {} for reading", path.display()))?;
        let writable = Arc::new(AtomicBool::new(true));
        Ok(Self { writer, reader, writable, _lock: Arc::new(lock) })
    }

    /// Starts a write transaction with `BEGIN IMMEDIATE`, so that it never has to upgrade a read lock.
    ///
    /// Never hold one inside a request's future: dropping a future whose COMMIT is on the way may commit unseen.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        begun.inspect_err(|error| self.notice(error))
    }

    /// The read-only pool.
    pub fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// `false` from the first failed write until [`Database::probe`] succeeds.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// Remembers that the file cannot be written, where `error` says so.
    pub fn notice(&self, error: &sqlx::Error) {
        if is_storage_failure(error) && self.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "database not writable; writes are refused until it is");
            metrics::counter!("database_write_failures_total").increment(1);
        }
    }

    /// Tries a real write. Called once a second while the database is not writable.
    pub async fn probe(&self) -> sqlx::Result<()> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        // The row is large enough to need pages of its own, so that a full disk fails it.
        sqlx::query("CREATE TABLE probe AS SELECT zeroblob(65536) AS filler").execute(&mut *tx).await?;
        sqlx::query("DROP TABLE probe").execute(&mut *tx).await?;
        tx.commit().await?;
        if !self.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("database writable again");
        }
        Ok(())
    }

    /// Closes both pools; SQLite then folds the WAL into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Whether `error` means that nothing can be written at present: a full disk, an I/O error, a lost or corrupt file.
///
/// Source: <https://www.sqlite.org/rescode.html>; the low byte of an extended code is its primary code.
pub fn is_storage_failure(error: &sqlx::Error) -> bool {
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const NOTADB: i32 = 26;
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    matches!(code, Some(READONLY | IOERR | CORRUPT | FULL | CANTOPEN | NOTADB))
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
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
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .with_context(|| format!("open the lock file {}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another process uses the database {}; stop it, or set DATABASE to another file",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock the file {}", name.display()))
        }
    }
}
