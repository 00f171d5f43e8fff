//! One SQLite file per service: one write connection, a read-only pool, and full durability.
//!
//! A commit that returned is on disk (`synchronous=FULL`). A second process on the same file is refused by a
//! lock on `<file>.lock`, because two writers would each believe in their own relay and consumer. Storage that is
//! full is waited for; a file that is damaged is [`suspect`](crate::suspect) and ends the process.

use std::{
    error::Error,
    fs::{self, File, TryLockError},
    path::Path,
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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{storage_failure::StorageFailure, suspect};

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

/// What a probe writes, in bytes: about what a full batch of 1,000 orders writes.
const PROBE_BYTES: i64 = 4 << 20;

/// An open database file.
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    writer: SqlitePool,
    reader: SqlitePool,
    writable: Arc<AtomicBool>,
    broken: CancellationToken,
    committed: watch::Sender<()>,
    // Held until the database is closed, and at most as long as the process lives.
    lock: Arc<File>,
}

impl Database {
    /// Opens or creates the file, refuses a second process, and applies the delivery tables' migrations and `own`.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("create the folder {}", folder.display()))?;
        }
        let lock = lock(path)?;
        let (writer, reader) = connect(path, own).await.map_err(|error| suspect::explain(path, error))?;
        Ok(Self {
            path: path.into(),
            writer,
            reader,
            writable: Arc::new(AtomicBool::new(true)),
            broken: CancellationToken::new(),
            committed: watch::Sender::new(()),
            lock: Arc::new(lock),
        })
    }

    /// Starts a write transaction with `BEGIN IMMEDIATE`, so that it never has to upgrade a read lock.
    ///
    /// Never hold one inside a request's future: dropping a future whose COMMIT is on the way may commit unseen.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let mut begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        if let Err(sqlx::Error::InvalidSavePointStatement) = begun {
            self.replace_writer().await?;
            begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        }
        begun.inspect_err(|error| self.notice(error))
    }

    /// Commits, and wakes whoever waits for changes.
    pub async fn commit(&self, tx: Tx) -> sqlx::Result<()> {
        tx.commit().await?;
        self.committed.send_replace(());
        Ok(())
    }

    /// Changes with each [`Database::commit`]; several at once may show as one.
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

    /// `false` from the first failed write until [`Database::probe`] succeeds.
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// Takes note of what `error`, or whatever caused it, says about the storage, if anything.
    ///
    /// A damaged file is never answered from again: a marker is left beside it, and [`Database::until_broken`] ends.
    pub fn notice(&self, error: &(dyn Error + 'static)) {
        let Some(failure) = StorageFailure::of(error) else { return };
        let was_writable = self.writable.swap(false, Ordering::Relaxed);
        if failure == StorageFailure::Broken {
            return self.give_up(error);
        }
        if was_writable {
            tracing::error!(
                database = %self.path.display(),
                ?failure,
                %error,
                "database not writable; writes are refused until it is"
            );
            metrics::counter!("database_write_failures_total").increment(1);
        }
    }

    fn give_up(&self, error: &(dyn Error + 'static)) {
        if !self.broken.is_cancelled() {
            tracing::error!(database = %self.path.display(), %error, "database damaged; the service stops");
            metrics::counter!("database_damaged_total").increment(1);
            suspect::mark(&self.path, &error.to_string());
            self.broken.cancel();
        }
    }

    /// Whether the file was found damaged. Nothing more may be answered from it.
    pub fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Waits until the file is found damaged; the error says what to do.
    pub async fn until_broken(&self) -> anyhow::Error {
        self.broken.cancelled().await;
        anyhow::anyhow!(
            "the database {} is damaged; the service stopped at once. The next start checks the file before it serves; \
             what was found is in {}",
            self.path.display(),
            suspect::marker(&self.path).display()
        )
    }

    /// Tries a real write. Called once a second while the database is not writable.
    pub async fn probe(&self) -> sqlx::Result<()> {
        self.write_and_fold_back().await.inspect_err(|error| self.notice(error))?;
        if !self.is_broken() && !self.writable.swap(true, Ordering::Relaxed) {
            tracing::info!(database = %self.path.display(), "database writable again");
        }
        Ok(())
    }

    /// Writes as much as a full batch takes, and folds it back into the file, so that the next batches find its space in
    /// the WAL. Unless somebody reads at this moment, they then need no new space: a disk that is nearly full does not
    /// pass this and fail them, again and again.
    async fn write_and_fold_back(&self) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("CREATE TABLE probe AS SELECT zeroblob($1) AS filler")
            .bind(PROBE_BYTES)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DROP TABLE probe").execute(&mut *tx).await?;
        tx.commit().await?;
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.writer).await?;
        Ok(())
    }

    /// Closes both pools, upon which SQLite folds the WAL into the file, and leaves the file to whoever opens it next.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(database = %self.path.display(), %error, "the lock is held until the process ends");
        }
    }
}

/// The write connection and the readers, on a file that was checked where it is suspect, and that is migrated.
async fn connect(path: &Path, own: &Migrator) -> Result<(SqlitePool, SqlitePool)> {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(path).create_if_missing(true))
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

fn lock(path: &Path) -> Result<File> {
    let name = suspect::beside(path, ".lock");
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
