//! One write with a known outcome: stored, certainly not stored, or nobody can tell.

use std::fmt;

use anyhow::{Error, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::storage::database::Database;
use crate::storage::failure::{StorageFailure, commit_never_happened};
use crate::storage::writer::Tx;

/// Why a write has no result.
#[derive(Debug)]
pub enum WriteError {
    /// The storage cannot be written at present, or somebody else holds the lock. Nothing is stored.
    NotStored(Error),
    /// The work itself failed, and was rolled back; the storage is not at fault. Nothing is stored.
    Rejected(Error),
    /// COMMIT failed: all of it is stored, or nothing.
    Unknown(Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStored(error) => write!(formatter, "nothing is stored: {error:#}"),
            Self::Rejected(error) => write!(formatter, "rolled back: {error:#}"),
            Self::Unknown(error) => write!(formatter, "commit; its outcome is unknown: {error:#}"),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotStored(error) | WriteError::Rejected(error) => error,
            WriteError::Unknown(error) => error.context("commit; its outcome is unknown"),
        }
    }
}

impl Database {
    /// Runs `work` in a write transaction, and commits what it hands back; with an error it is dropped, and
    /// so rolled back. While the database is not writable, refuses at once.
    ///
    /// Whatever a failure says about the storage has been taken note of. Never call it inside a request's
    /// future: dropping a future whose COMMIT is on the way may commit unseen.
    pub async fn write<T, F>(&self, work: impl FnOnce(Tx) -> F) -> Result<T, WriteError>
    where
        F: Future<Output = Result<(Tx, T)>>,
    {
        let (tx, written) = self.run(work).await?;
        let has_enqueued = tx.has_enqueued;
        let committed = tx.commit().await;
        // Also where nobody can tell: there may be something new.
        self.committed.send_replace(());
        if has_enqueued {
            self.enqueued.send_replace(());
        }
        if let Err(error) = committed {
            self.roll_back().await;
            return Err(self.not_committed(error));
        }
        if !self.is_in_place() {
            return Err(WriteError::Unknown(anyhow!("the file was moved, removed or replaced")));
        }
        Ok(written)
    }

    /// As [`Database::write`], and rolls everything back in the end. What failed in it was not stored either.
    pub async fn rehearse<T, F>(&self, work: impl FnOnce(Tx) -> F) -> Result<T, WriteError>
    where
        F: Future<Output = Result<(Tx, T)>>,
    {
        let (tx, written) = self.run(work).await?;
        tx.rollback().await.map_err(|error| self.rolled_back(error.into()))?;
        Ok(written)
    }

    async fn run<T, F>(&self, work: impl FnOnce(Tx) -> F) -> Result<(Tx, T), WriteError>
    where
        F: Future<Output = Result<(Tx, T)>>,
    {
        if !self.is_writable() || !self.is_in_place() {
            return Err(WriteError::NotStored(anyhow!("the database is not writable")));
        }
        let tx = self.begin().await.map_err(|error| WriteError::NotStored(error.into()))?;
        match work(tx).await {
            Ok(worked) => Ok(worked),
            Err(error) => {
                self.roll_back().await;
                Err(self.rolled_back(error))
            }
        }
    }

    /// Rolls back what was dropped: now, and not when the next transaction begins. It would hold the lock against others until
    /// then.
    async fn roll_back(&self) {
        if let Err(error) = self.writer.take().await {
            tracing::debug!(%error, "not rolled back; the next transaction tries again");
        }
    }

    fn rolled_back(&self, error: Error) -> WriteError {
        self.note_failure(error.as_ref());
        match StorageFailure::of(error.as_ref()) {
            Some(_) => WriteError::NotStored(error),
            None => WriteError::Rejected(error),
        }
    }

    fn not_committed(&self, error: sqlx::Error) -> WriteError {
        self.note_failure(&error);
        if commit_never_happened(&error) {
            return WriteError::NotStored(error.into());
        }
        WriteError::Unknown(error.into())
    }
}

/// `rows` as the JSON text that `json_each($1)` takes: a whole batch as one bound value. Each statement is a hop
/// to the connection's thread.
pub fn json<T: Serialize>(rows: &T) -> String {
    // Strings, integers, options and arrays of them always have a JSON form.
    serde_json::to_string(rows).unwrap_or_default()
}

/// What a statement hands out as one JSON text. Each row that comes alone wakes whoever waits for it, which costs
/// more than the row.
pub fn from_json<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sqlx::migrate::Migrator;

    use super::*;

    #[tokio::test]
    async fn a_commit_with_an_unknown_outcome_wakes_whoever_waits_for_commits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let database = Database::open(&path, &Migrator::with_migrations(Vec::new())).await.unwrap();
        let commits = database.commits();
        let written = database.write(|tx| async {
            fs::rename(&path, folder.path().join("moved.db"))?;
            Ok((tx, ()))
        });
        assert!(matches!(written.await, Err(WriteError::Unknown(_))));
        assert!(commits.has_changed().unwrap());
    }
}
