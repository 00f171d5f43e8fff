//! One SQLite file per service: one write connection, a read-only pool, and full durability.
//!
//! A commit that returned is on disk (`synchronous=FULL`). A second process on the same file is refused
//! ([`lock`]): two writers would each believe in their own relay and consumer.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use tokio::sync::watch;

use crate::storage::connect::{Connections, connect};
use crate::storage::failure::StorageFailure;
use crate::storage::files::Files;
use crate::storage::lock::Lock;
use crate::storage::stamp::Stamp;
use crate::storage::suspect;
use crate::storage::writer::{Tx, Writer};

/// An open database file. Cheap to clone: each request does so several times.
#[derive(Clone)]
pub struct Database(Arc<Open>);

/// What a database is made of, for the modules beside this one.
pub struct Open {
    pub(super) writer: Writer,
    reader: SqlitePool,
    scanner: SqlitePool,
    // Why it cannot be written.
    pub(super) failure: watch::Sender<Option<StorageFailure>>,
    // Why nothing more may be answered from it.
    pub(super) ended: watch::Sender<Option<String>>,
    pub(super) committed: watch::Sender<()>,
    pub(super) enqueued: watch::Sender<()>,
    // The size of a WAL that could not be cut back, in bytes; otherwise 0.
    pub(super) wal_left: AtomicU64,
    // The last field, and so dropped after the pools.
    pub(super) files: Files,
}

impl Deref for Database {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.0
    }
}

impl Database {
    /// Opens or creates the file, refuses a second process, and migrates it: the delivery tables, then `own`.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self> {
        let lock = Lock::take(path)?;
        let connected = connect(&lock.path, own).await;
        let Connections { writer, reader, scanner } =
            connected.map_err(|error| suspect::explain(&lock.path, error))?;
        let mut files = Files::opened(lock)?;
        // Only now, since it is certain whose file gets it.
        let stamp = stamp(&files.lock.file, &writer).await;
        files.stamp = stamp.map_err(|error| suspect::explain(&files.lock.path, error.into()))?;
        let (failure, ended, committed, enqueued, wal_left) = Default::default();
        let open = Open { writer, reader, scanner, failure, ended, committed, enqueued, wal_left, files };
        Ok(Self(open.into()))
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.files.lock.path
    }

    /// The read-only pool.
    pub fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// One read-only connection for what may read a whole table: however much is asked of it, the others have
    /// theirs.
    pub fn scanner(&self) -> &SqlitePool {
        &self.scanner
    }

    /// Starts a write transaction. What is to be kept is written with [`Database::write`].
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        self.writer.begin().await.inspect_err(|error| {
            self.note_failure(error);
            if let sqlx::Error::WorkerCrashed = error {
                let file = self.path().display();
                self.end(format!("the thread that writes the database {file} died; the service stopped"));
            }
        })
    }

    /// Changes after each COMMIT of [`Database::write`], whatever came of it; several may show as one.
    pub fn commits(&self) -> watch::Receiver<()> {
        self.committed.subscribe()
    }

    /// Changes after each COMMIT of [`Database::write`] whose transaction has enqueued events, whatever came of it.
    pub fn enqueues(&self) -> watch::Receiver<()> {
        self.enqueued.subscribe()
    }

    /// Closes all connections, upon which SQLite folds the WAL into the file, and releases the lock.
    pub async fn close(&self) {
        self.reader.close().await;
        self.scanner.close().await;
        self.writer.close().await;
        self.files.lock.release();
    }
}

async fn stamp(file: &File, writer: &Writer) -> sqlx::Result<Option<Stamp>> {
    let mut held = writer.take().await?;
    Stamp::give(file, &mut held).await
}
