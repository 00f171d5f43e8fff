//! A service's database as somebody else sees it.

use std::path::Path;

use shared::storage::Database;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, FromRow, SqliteConnection, SqlitePool};

use crate::{expect, wait_until};

/// Connections beside the service's own; the service must have created the file.
pub struct Db(SqlitePool);

impl Db {
    pub fn of(file: &Path) -> Self {
        Self(SqlitePool::connect_lazy_with(SqliteConnectOptions::new().filename(file)))
    }

    /// What a person sees who opens the file with `sqlite3 -readonly`.
    pub fn read_only(file: &Path) -> Self {
        Self(SqlitePool::connect_lazy_with(SqliteConnectOptions::new().filename(file).read_only(true)))
    }

    pub fn pool(&self) -> SqlitePool {
        self.0.clone()
    }

    /// Closes its connections, so that nothing of SQLite's lies beside the file.
    pub async fn close(self) {
        self.0.close().await;
    }

    /// The one row that `sql` selects.
    pub async fn row<T>(&self, sql: &str) -> T
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        expect(sql, sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&self.0).await)
    }

    /// All rows that `sql` selects.
    pub async fn rows<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        expect(sql, sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.0).await)
    }

    /// The one integer that `sql` selects.
    pub async fn number(&self, sql: &str) -> i64 {
        let (number,) = self.row(sql).await;
        number
    }

    /// The one text that `sql` selects.
    pub async fn text(&self, sql: &str) -> String {
        let (text,) = self.row(sql).await;
        text
    }

    /// All texts that `sql` selects.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.rows(sql).await.into_iter().map(|(text,)| text).collect()
    }

    /// Changes something behind the service's back; returns how many rows.
    pub async fn change(&self, sql: &str) -> u64 {
        expect(sql, sqlx::query(AssertSqlSafe(sql)).execute(&self.0).await).rows_affected()
    }

    /// Writes a dead letter as an earlier run left it.
    pub async fn write_dead_letter(&self, subject: &str, reason: &str, body: &str) {
        let columns = "subject, body, headers, reason, detail, attempts, first_seen_at, last_seen_at";
        let row = format!("'{subject}', CAST('{body}' AS BLOB), '{{}}', '{reason}', 'as found', 1, 0, 0");
        self.change(&format!("INSERT INTO dead_letters ({columns}) VALUES ({row})")).await;
    }

    /// From now on the COMMIT of whatever does `event`, such as `DELETE ON dead_letters`, fails: only COMMIT looks
    /// at the reference, which leads nowhere.
    pub async fn fail_commits_of(&self, event: &str) {
        self.change("CREATE TABLE target (id INTEGER PRIMARY KEY)").await;
        let deferred = "REFERENCES target (id) DEFERRABLE INITIALLY DEFERRED";
        self.change(&format!("CREATE TABLE reference (target INTEGER {deferred})")).await;
        let trigger = format!("AFTER {event} BEGIN INSERT INTO reference VALUES (1); END");
        self.change(&format!("CREATE TRIGGER refers {trigger}")).await;
    }

    pub async fn orders(&self) -> i64 {
        self.number("SELECT count(*) FROM orders").await
    }

    pub async fn reservations(&self) -> i64 {
        self.number("SELECT count(*) FROM reservations").await
    }

    pub async fn outbox(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox").await
    }

    pub async fn until_outbox_is_empty(&self) {
        wait_until("the outbox is empty", async || self.outbox().await == 0).await;
    }

    pub async fn dead_letters(&self) -> i64 {
        self.number("SELECT count(*) FROM dead_letters").await
    }

    pub async fn until_dead_letters_are(&self, count: i64) {
        let what = format!("there are {count} dead letters");
        wait_until(&what, async || self.dead_letters().await == count).await;
    }
}

/// Runs statements on a database as a service itself opens it, and closes it.
pub async fn run_sql(database: Database, sql: &'static str) {
    let mut tx = expect("begin", database.begin().await);
    expect(sql, sqlx::raw_sql(sql).execute(&mut *tx).await);
    expect("commit", tx.commit().await);
    database.close().await;
}

/// A write transaction in somebody else's hands.
pub struct WriteLock(SqliteConnection);

impl WriteLock {
    /// Takes the write lock of the database, as another process would.
    pub async fn take(file: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = expect("open the database", SqliteConnection::connect_with(&options).await);
        expect("take its lock", sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await);
        Self(connection)
    }

    pub async fn release(mut self) {
        expect("give the lock back", sqlx::query("ROLLBACK").execute(&mut self.0).await);
        expect("close the database", self.0.close().await);
    }
}
