//! What is known of the storage: whether the database can be written, and whether anything may still be answered from it.
//!
//! What may pass is waited for, by a probe once a second. A file that is damaged or gone ends the service.

use std::{
    error::Error,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::AssertSqlSafe;
use tokio::sync::watch;
use uuid::Uuid;

use super::database::Database;
use crate::storage::{failure::StorageFailure, suspect};

/// What a probe writes, in bytes: about what a full batch of 1,000 orders writes.
const PROBE_BYTES: i64 = 4 << 20;
/// A service whose files are gone tries this long to write what they hold into the file that it has open.
const FOLD_BACK_TIMEOUT: Duration = Duration::from_secs(6);

/// The condition of one database.
#[derive(Debug)]
pub(super) struct Condition {
    failure: Mutex<Option<StorageFailure>>,
    /// Why nothing more may be answered from it.
    ended: watch::Sender<Option<String>>,
}

impl Condition {
    pub fn good() -> Self {
        Self { failure: Mutex::default(), ended: watch::Sender::new(None) }
    }

    fn failure(&self) -> MutexGuard<'_, Option<StorageFailure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Why it cannot be written: from the first failed write until [`Database::probe`] succeeds.
    pub fn failure(&self) -> Option<StorageFailure> {
        *self.condition.failure()
    }

    /// Whether it can be written, as far as anybody knows.
    pub fn is_writable(&self) -> bool {
        self.failure().is_none()
    }

    /// Takes note of what `error`, or whatever caused it, says about the storage, if anything.
    ///
    /// A damaged file is never answered from again: a marker is left beside it, and [`Database::until_broken`] ends.
    pub fn notice(&self, error: &(dyn Error + 'static)) {
        let Some(failure) = StorageFailure::of(error) else { return };
        self.refuse_writes(failure, error);
    }

    fn refuse_writes(&self, failure: StorageFailure, error: &(dyn Error + 'static)) {
        let before = self.condition.failure().replace(failure);
        if failure == StorageFailure::Broken {
            return self.give_up(error);
        }
        if before.is_none() {
            tracing::error!(
                database = %self.path().display(),
                ?failure,
                %error,
                "database not writable; writes are refused until it is"
            );
            metrics::counter!("database_write_failures_total").increment(1);
        }
    }

    fn give_up(&self, error: &(dyn Error + 'static)) {
        if !self.is_broken() {
            let file = self.path().display();
            tracing::error!(database = %file, %error, "database damaged; the service stops");
            metrics::counter!("database_damaged_total").increment(1);
            suspect::mark(self.path(), &error.to_string());
            self.end(format!(
                "the database {file} is damaged; the service stopped at once. The next start checks the file before it serves; \
                 what was found is in {}",
                suspect::marker(self.path()).display()
            ));
        }
    }

    fn end(&self, why: String) {
        self.condition.ended.send_replace(Some(why));
    }

    /// Whether the file was found damaged or gone. Nothing more may be answered from it.
    pub fn is_broken(&self) -> bool {
        self.condition.ended.borrow().is_some()
    }

    /// Waits until the file is found damaged or gone; the error says what to do.
    pub async fn until_broken(&self) -> anyhow::Error {
        let mut ended = self.condition.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        anyhow::anyhow!(why.unwrap_or_default())
    }

    /// Whether the files are the ones that were opened. From the first time that they are not, writes are refused;
    /// [`Database::end_if_gone`] ends the service then.
    pub(super) fn is_in_place(&self) -> bool {
        // Whoever closes it lets SQLite remove what lies beside the file.
        let missing = if self.writer.is_closed() { None } else { self.files.missing() };
        let Some(missing) = missing else { return self.is_whole() };
        let before = self.condition.failure().replace(StorageFailure::Gone);
        if before != Some(StorageFailure::Gone) {
            tracing::error!(
                database = %self.path().display(),
                file = %missing.display(),
                "the database was moved, removed or replaced while it was in use; the service stops"
            );
        }
        false
    }

    /// Whether nobody has cut the file, or copied another one over it. From then on nothing in it can be trusted.
    fn is_whole(&self) -> bool {
        if !self.files.is_written_over() {
            return true;
        }
        self.condition.failure().replace(StorageFailure::Broken);
        self.give_up(&io::Error::other("somebody has written over the file"));
        false
    }

    /// Gives the file a stamp that no copy of it has, and has it written into the file itself, and not only into the WAL.
    pub(super) async fn stamp(&self) -> sqlx::Result<()> {
        if !cfg!(target_os = "linux") {
            // Another file is locked there, and the database must not be opened a second time.
            return Ok(());
        }
        let given: u32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&self.writer).await?;
        // One that has not come to the file yet, since somebody was reading, stays: with a third one nobody could tell which is to come.
        if self.files.header_stamp().is_ok_and(|found| found != given) {
            self.files.note_stamp(given);
            return Ok(());
        }
        let stamp = Uuid::new_v4().as_u128() as u32 >> 1;
        sqlx::query(AssertSqlSafe(format!("PRAGMA application_id = {stamp}"))).execute(&self.writer).await?;
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.writer).await?;
        self.files.note_stamp(stamp);
        Ok(())
    }

    /// Ends the service once the files are no longer the ones that were opened. Called once a second.
    ///
    /// Commits since the latest checkpoint may be in the WAL alone. They are written into the file that is still open: whoever
    /// moved it, or removed only the WAL, finds all of them there, and no WAL that belongs to another file.
    pub async fn end_if_gone(&self) {
        if self.is_in_place() || self.is_broken() {
            return;
        }
        let fold_back = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer);
        let folded = tokio::time::timeout(FOLD_BACK_TIMEOUT, fold_back).await;
        let whole = if matches!(folded, Ok(Ok(_))) { "whole" } else { "not whole without its WAL" };
        self.end(format!(
            "the database {} was moved, removed or replaced while it was in use; the service stopped. Where its file was moved \
             to, it is {whole}: put it back in its place, or restore a backup, and start again",
            self.path().display()
        ));
    }

    /// Finds out whether it can be written, and sees to the size of the WAL. Called once a second.
    ///
    /// A lock that somebody else holds is noticed also while nobody writes: an empty transaction waits for it like any other.
    pub async fn tend(&self) -> sqlx::Result<()> {
        if !self.is_writable() {
            return self.probe().await;
        }
        let begun = self.begin().await.inspect_err(|error| {
            // Few wait for the write connection, each in its turn: somebody has been writing for all this time.
            if let sqlx::Error::PoolTimedOut = error {
                self.refuse_writes(StorageFailure::Unavailable, error);
            }
        });
        begun?.rollback().await?;
        self.bound_wal().await.inspect_err(|error| self.notice(error))
    }

    /// Tries a real write. Called once a second while the database is not writable.
    pub async fn probe(&self) -> sqlx::Result<()> {
        self.write_and_fold_back().await.inspect_err(|error| self.notice(error))?;
        if self.is_in_place() && !self.is_broken() && self.condition.failure().take().is_some() {
            tracing::info!(database = %self.path().display(), "database writable again");
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

    fn path(&self) -> &Path {
        self.files.path()
    }
}
