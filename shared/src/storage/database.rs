//! One SQLite file per service: one write connection, a read-only pool, and full durability.
//!
//! A commit that returned is on disk (`synchronous=FULL`). A second process on the same file is refused
//! ([`lock`]), because two writers would each believe in their own relay and consumer. Storage that is full
//! or locked is waited for ([`condition`]); a file that is damaged is [`suspect`](crate::storage::suspect)
//! and ends the process.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::watch;

use crate::storage::condition::Condition;
use crate::storage::connect::connect;
use crate::storage::failure::StorageFailure;
use crate::storage::files::Files;
use crate::storage::lock::Lock;
use crate::storage::stamp::Stamp;
use crate::storage::suspect;
use crate::storage::wal::WalBound;

/// A write transaction. It holds the only write connection until it is committed or dropped.
pub type Tx = Transaction<'static, Sqlite>;

/// An open database file. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(super) writer: SqlitePool,
    reader: SqlitePool,
    pub(super) condition: Arc<Condition>,
    pub(super) wal: Arc<WalBound>,
    pub(super) committed: watch::Sender<()>,
    // The last field, and so dropped after the pools.
    files: Arc<Files>,
}

impl Database {
    /// Opens or creates the file, refuses a second process, and migrates it: the delivery tables, then `own`.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self> {
        let lock = Lock::take(path)?;
        let connected = connect(lock.path(), own).await;
        let (writer, reader) = connected.map_err(|error| suspect::explain(lock.path(), error))?;
        let (condition, wal) = (Condition::good(lock.path()), WalBound::of(lock.path()));
        let stamp = Stamp::give(lock.file(), &writer).await.unwrap_or_else(|error| {
            // Without one, as on a full disk, it is served all the same.
            condition.note_failure(&error);
            tracing::warn!(
                %error,
                "the database file has no stamp: whether somebody writes over it is not noticed"
            );
            None
        });
        Ok(Self {
            writer,
            reader,
            condition: Arc::new(condition),
            wal: Arc::new(wal),
            committed: watch::Sender::new(()),
            files: Arc::new(Files::opened(lock, stamp)?),
        })
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// The read-only pool.
    pub fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// Starts a write transaction with `BEGIN IMMEDIATE`, so that it never has to upgrade a read lock. What
    /// is to be kept is written with [`Database::write`].
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let mut begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        if let Err(sqlx::Error::InvalidSavePointStatement) = begun {
            self.replace_writer().await?;
            begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        }
        begun.inspect_err(|error| self.note_failure(error))
    }

    /// Closes the write connection; the pool opens another one.
    ///
    /// After a full disk or an I/O error SQLite has rolled back by itself. The ROLLBACK that sqlx sends after
    /// it then fails, and sqlx counts the transaction as open for ever: without another connection, none
    /// could begin again.
    async fn replace_writer(&self) -> sqlx::Result<()> {
        tracing::debug!("the write connection is replaced");
        self.writer.acquire().await?.close().await
    }

    /// Changes with each commit of [`Database::write`]; several at once may show as one.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.committed.subscribe()
    }

    /// Why it cannot be written: from the first failed write until [`Database::probe`] succeeds.
    pub fn failure(&self) -> Option<StorageFailure> {
        self.condition.failure()
    }

    /// Whether it can be written, as far as anybody knows.
    pub fn is_writable(&self) -> bool {
        self.failure().is_none()
    }

    /// Takes note of what `error`, or whatever caused it, says about the storage, if anything.
    ///
    /// A damaged file is never answered from again: a marker is left beside it, and
    /// [`Database::until_unusable`] ends.
    pub fn note_failure(&self, error: &(dyn Error + 'static)) {
        self.condition.note_failure(error);
    }

    /// Whether the file was found damaged or gone. Nothing more may be answered from it.
    pub fn is_unusable(&self) -> bool {
        self.condition.is_unusable()
    }

    /// Waits until the file is found damaged or gone; the error says what to do.
    pub async fn until_unusable(&self) -> anyhow::Error {
        self.condition.until_unusable().await
    }

    /// Whether the files are the ones that were opened, and nobody has written over them. From the first time
    /// that they are not, writes are refused; [`Database::watch`] ends the service then.
    pub(super) fn is_in_place(&self) -> bool {
        // Whoever closes it lets SQLite remove what lies beside the file.
        if !self.writer.is_closed()
            && let Some(missing) = self.files.missing()
        {
            self.condition.note_gone(missing);
            return false;
        }
        if self.files.is_written_over() {
            self.condition.note_written_over();
            return false;
        }
        true
    }

    /// Closes both pools, upon which SQLite folds the WAL into the file, and releases the lock.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
        self.files.unlock();
    }
}
