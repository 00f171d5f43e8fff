//! The one connection that writes, and its transactions.
//!
//! sqlx's own pool and transaction make three more trips to the connection's thread for each transaction: BEGIN and COMMIT wait
//! for a receipt there, and a connection that comes back is asked whether it still lives. Each trip wakes two threads,
//! which for few orders at a time costs more than the work in between. So the connection is kept here, and BEGIN and
//! COMMIT are statements like any other.
//!
//! It is opened once. Another one, opened later, would be one to whatever file lies at that path by then.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::time::timeout;

/// How long anybody waits for the writer to be free.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// The connection in somebody's hands.
pub(super) type Held = OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>;

/// Lends the one connection that writes.
pub(super) struct Writer {
    /// Empty once it is closed.
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    is_closed: AtomicBool,
    /// Whether a transaction was begun that has not come to its end.
    is_begun: Arc<AtomicBool>,
}

impl Writer {
    /// Opens the connection.
    pub async fn open(options: SqliteConnectOptions) -> sqlx::Result<Self> {
        let connection = Arc::new(Mutex::new(Some(options.connect().await?)));
        Ok(Self { connection, is_closed: AtomicBool::new(false), is_begun: Arc::default() })
    }

    /// The connection, once everybody has had it who asked before. What was begun on it and dropped is rolled back.
    pub async fn take(&self) -> sqlx::Result<Held> {
        let turn = timeout(TURN_WITHIN, self.connection.clone().lock_owned()).await;
        let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let mut held = OwnedMutexGuard::try_map(turn, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)?;
        if self.is_begun.load(Ordering::Acquire) {
            // Behind whatever is still under way for whoever has dropped it.
            let rolled_back = sqlx::query("ROLLBACK").execute(&mut *held).await;
            // There is nothing left to roll back where SQLite has done so by itself, or nothing had begun.
            rolled_back
                .map(drop)
                .or_else(|error| if is_no_transaction(&error) { Ok(()) } else { Err(error) })?;
            self.is_begun.store(false, Ordering::Release);
        }
        Ok(held)
    }

    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let mut connection = self.take().await?;
        self.is_begun.store(true, Ordering::Release);
        // From the start with the write lock: a transaction that has read could not get it later.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        Ok(Tx { connection, is_begun: self.is_begun.clone(), has_enqueued: false })
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Closes the connection, once whoever has it is done.
    pub async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        if let Some(connection) = self.connection.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the write connection was not closed in order");
        }
    }
}

/// SQLITE_ERROR, which has no other cause in a ROLLBACK.
fn is_no_transaction(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "1")
}

/// A write transaction. It holds the only write connection until it ends; dropped, it is rolled back before the next one
/// begins.
pub struct Tx {
    connection: Held,
    is_begun: Arc<AtomicBool>,
    /// Whether it has enqueued events: then its commit wakes the relay, which need not look after any other.
    pub(crate) has_enqueued: bool,
}

impl Tx {
    /// Once it returns, everything is on disk. After an error nobody can tell, with the exception of
    /// [`super::failure::commit_never_happened`].
    pub async fn commit(self) -> sqlx::Result<()> {
        self.end("COMMIT").await
    }

    /// Undoes everything.
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> sqlx::Result<()> {
        sqlx::query(statement).execute(&mut *self.connection).await?;
        self.is_begun.store(false, Ordering::Release);
        Ok(())
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::FutureExt;
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let options = SqliteConnectOptions::new().filename(folder.path().join("test.db"));
        let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let writer = Writer::open(options).await.unwrap();
        let mut tx = writer.begin().await.unwrap();
        sqlx::query("CREATE TABLE kept (number INTEGER) STRICT").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        writer
    }

    const KEEP: &str = "INSERT INTO kept VALUES (1)";

    async fn keep(writer: &Writer) {
        let mut tx = writer.begin().await.unwrap();
        sqlx::query(KEEP).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// By this number a restored copy is noticed; a connection counts from 0.
    async fn rows_changed(writer: &Writer) -> i64 {
        let mut connection = writer.take().await.unwrap();
        sqlx::query_scalar("SELECT total_changes()").fetch_one(&mut *connection).await.unwrap()
    }

    async fn kept(writer: &Writer) -> i64 {
        let mut tx = writer.begin().await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut *tx).await.unwrap();
        tx.rollback().await.unwrap();
        count
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_leaves_nothing_and_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        let mut tx = writer.begin().await.unwrap();
        sqlx::query(KEEP).execute(&mut *tx).await.unwrap();
        drop(tx);
        assert_eq!(kept(&writer).await, 0);
        keep(&writer).await;
        assert_eq!(kept(&writer).await, 1);
    }

    #[tokio::test]
    async fn the_second_writer_waits_for_the_first_and_nobody_gets_the_connection_once_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        let mut first = writer.begin().await.unwrap();
        let second = kept(&writer);
        tokio::pin!(second);
        assert_eq!(second.as_mut().now_or_never(), None);
        sqlx::query(KEEP).execute(&mut *first).await.unwrap();
        first.commit().await.unwrap();
        assert_eq!(second.await, 1);
        writer.close().await;
        assert!(matches!(writer.begin().await, Err(sqlx::Error::PoolClosed)));
    }

    #[tokio::test]
    async fn the_writer_stays_with_the_file_it_opened_after_a_lock_a_dropped_transaction_and_a_move() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder).await;
        let (file, moved) = (folder.path().join("test.db"), folder.path().join("moved.db"));
        let mut other = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        keep(&writer).await;
        sqlx::query("PRAGMA busy_timeout = 1").execute(&mut *writer.take().await.unwrap()).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        assert!(writer.begin().await.is_err(), "somebody else has the lock");
        other.close().await.unwrap();
        drop(writer.begin().await.unwrap());
        assert_eq!(rows_changed(&writer).await, 1);
        fs::rename(&file, &moved).unwrap();
        keep(&writer).await;
        let fold_back = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
        fold_back.execute(&mut *writer.take().await.unwrap()).await.unwrap();
        writer.close().await;
        assert!(!file.exists());
        let mut moved = SqliteConnectOptions::new().filename(&moved).connect().await.unwrap();
        let kept = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut moved).await;
        assert_eq!(kept.ok(), Some(2));
    }
}
