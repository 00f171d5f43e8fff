//! The database of the bound: one table of one text column, and nothing that looks anything up.
//!
//! A batch is one statement without a transaction around it, and so one trip to the thread of the connection, one
//! commit and one fsync.

use std::fmt::{Arguments, Write};
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

/// The connection that writes.
pub(super) struct Rows(SqliteConnection);

/// Rows of one commit, as one array of JSON. Their texts hold nothing that JSON would escape.
pub(super) struct Batch(String);

impl Rows {
    /// With the settings that `shared/src/storage/connect.rs` gives the services' connections.
    pub async fn create(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true)
            .disable_statement_logging();
        let opened = SqliteConnection::connect_with(&options).await;
        let mut connection = opened.with_context(|| format!("cannot open {}", path.display()))?;
        sqlx::query("CREATE TABLE kept (text TEXT NOT NULL) STRICT").execute(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Once it returns, the rows are on the disk.
    pub async fn append(&mut self, batch: Batch) -> Result<()> {
        let appended = sqlx::query("INSERT INTO kept SELECT value FROM json_each($1)").bind(batch.array());
        appended.execute(&mut self.0).await.context("cannot commit")?;
        Ok(())
    }
}

impl Batch {
    /// With room for so many rows.
    pub fn with_room_for(rows: usize) -> Self {
        // No row of ours is longer, so the text never moves.
        let mut array = String::with_capacity(rows * 160 + 2);
        array.push('[');
        Self(array)
    }

    pub fn push(&mut self, row: Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "\"{row}\",");
    }

    fn array(mut self) -> String {
        // The last comma, or of an empty batch the bracket.
        let last = self.0.pop();
        self.0.push_str(if last == Some('[') { "[]" } else { "]" });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_row_of_a_batch_is_one_in_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = Rows::create(&folder.path().join("rows.db")).await.unwrap();
        for number in [0, 1, 3] {
            let mut batch = Batch::with_room_for(number);
            (0..number).for_each(|row| batch.push(format_args!("row {row} of {number}")));
            rows.append(batch).await.unwrap();
        }
        let kept = sqlx::query_scalar("SELECT text FROM kept").fetch_all(&mut rows.0).await;
        let kept: Vec<String> = kept.unwrap();
        assert_eq!(kept, ["row 0 of 1", "row 0 of 3", "row 1 of 3", "row 2 of 3"]);
    }
}
