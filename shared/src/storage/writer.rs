//! The one connection that writes, and its transactions.
//!
//! sqlx's own pool and transaction make five more trips to the connection's thread for each transaction: BEGIN and COMMIT wait
//! for a receipt there, and a connection that comes back is asked whether it still lives. Each trip wakes two threads,
//! which for few orders at a time costs more than the work in between. So the connection is kept here, and BEGIN and
//! COMMIT are statements like any other.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// How long anybody waits for the writer to be free.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// The place of the connection; it is empty after a transaction that did not end well, until the next one opens another.
type Home = Option<SqliteConnection>;

/// Lends the one connection that writes.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    home: Arc<Mutex<Home>>,
    is_closed: AtomicBool,
}

impl Writer {
    /// Opens the connection.
    pub async fn open(options: SqliteConnectOptions) -> sqlx::Result<Self> {
        let home = Arc::new(Mutex::new(Some(options.connect().await?)));
        Ok(Self { options, home, is_closed: AtomicBool::new(false) })
    }

    /// The connection, once everybody has had it who asked before.
    pub async fn take(&self) -> sqlx::Result<Held> {
        let turn = timeout(TURN_WITHIN, self.home.clone().lock_owned()).await;
        let mut home = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if self.is_closed() {
            return Err(sqlx::Error::PoolClosed);
        }
        let connection = match home.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Held { connection, home })
    }

    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let mut held = self.take().await?;
        // From the start with the write lock: a transaction that has read could not get it later.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *held).await?;
        Ok(Tx { held, has_enqueued: false })
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Closes the connection, once whoever has it is done.
    pub async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        if let Some(connection) = self.home.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the write connection was not closed in order");
        }
    }
}

/// The connection in somebody's hands. Dropped, it is closed: nobody knows what is still under way on it, and SQLite rolls
/// back what was not committed.
pub(super) struct Held {
    connection: SqliteConnection,
    home: OwnedMutexGuard<Home>,
}

impl Held {
    /// Leaves the connection to the next one.
    pub fn give_back(self) {
        let Self { connection, mut home } = self;
        *home = Some(connection);
    }
}

impl Deref for Held {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// A write transaction. It holds the only write connection until it ends; dropped, it is rolled back.
pub struct Tx {
    held: Held,
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
        sqlx::query(statement).execute(&mut *self).await?;
        self.held.give_back();
        Ok(())
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.held
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.held
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("test.db")).create_if_missing(true);
        let writer = Writer::open(options).await.unwrap();
        let mut tx = writer.begin().await.unwrap();
        sqlx::query("CREATE TABLE kept (number INTEGER) STRICT").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        writer
    }

    async fn keep(tx: &mut Tx) {
        sqlx::query("INSERT INTO kept VALUES (1)").execute(&mut **tx).await.unwrap();
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
        keep(&mut tx).await;
        drop(tx);
        assert_eq!(kept(&writer).await, 0);
        let mut tx = writer.begin().await.unwrap();
        keep(&mut tx).await;
        tx.commit().await.unwrap();
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
        keep(&mut first).await;
        first.commit().await.unwrap();
        assert_eq!(second.await, 1);
        writer.close().await;
        assert!(matches!(writer.begin().await, Err(sqlx::Error::PoolClosed)));
    }
}
