//! What is known of a database: whether it can be written, and whether anything may be answered from it.
//!
//! What may pass is waited for. A file that is damaged or gone ends the service.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::storage::failure::StorageFailure;
use crate::storage::suspect;

/// The condition of one database.
#[derive(Debug)]
pub(super) struct Condition {
    path: PathBuf,
    failure: Mutex<Option<StorageFailure>>,
    /// Why nothing more may be answered from it.
    ended: watch::Sender<Option<String>>,
}

impl Condition {
    /// Of the database at `path`, of which nothing bad is known.
    pub fn good(path: &Path) -> Self {
        Self { path: path.to_owned(), failure: Mutex::default(), ended: watch::Sender::new(None) }
    }

    /// Why it cannot be written; `None` while it can, as far as anybody knows.
    pub fn failure(&self) -> Option<StorageFailure> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<StorageFailure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what `error`, or whatever caused it, says about the storage, if anything.
    pub fn note_failure(&self, error: &(dyn Error + 'static)) {
        if let Some(failure) = StorageFailure::of(error) {
            self.refuse_writes(failure, error);
        }
    }

    /// Takes note of a failure that `error` tells of. A damaged file is never answered from again: a marker
    /// is left beside it.
    pub fn refuse_writes(&self, failure: StorageFailure, error: &(dyn Error + 'static)) {
        let before = self.lock().replace(failure);
        if failure == StorageFailure::Broken {
            return self.give_up(error);
        }
        if before.is_none() {
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
        if !self.is_unusable() {
            let file = self.path.display();
            tracing::error!(database = %file, %error, "database damaged; the service stops");
            metrics::counter!("database_damaged_total").increment(1);
            suspect::leave_marker(&self.path, &error.to_string());
            self.end(format!(
                "the database {file} is damaged; the service stopped at once. The next start checks the file \
                 before it serves; what was found is in {}",
                suspect::marker(&self.path).display()
            ));
        }
    }

    /// Takes note that `missing` is no longer the file that was opened.
    pub fn note_gone(&self, missing: &Path) {
        let before = self.lock().replace(StorageFailure::Gone);
        if before != Some(StorageFailure::Gone) {
            tracing::error!(
                database = %self.path.display(),
                file = %missing.display(),
                "the database was moved, removed or replaced while it was in use; the service stops"
            );
        }
    }

    /// Takes note that the file holds something else. From then on nothing in it can be trusted.
    pub fn note_written_over(&self) {
        let error = io::Error::other("somebody has written over the file");
        self.refuse_writes(StorageFailure::Broken, &error);
    }

    /// Takes note of a write that succeeded.
    pub fn note_writable(&self) {
        if self.lock().take().is_some() {
            tracing::info!(database = %self.path.display(), "database writable again");
        }
    }

    /// Lets nothing more be answered from it.
    pub fn end(&self, why: String) {
        self.ended.send_replace(Some(why));
    }

    /// Whether nothing more may be answered from it.
    pub fn is_unusable(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until nothing more may be answered from it; the error says what to do.
    pub async fn until_unusable(&self) -> anyhow::Error {
        let mut ended = self.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        anyhow::anyhow!(why.unwrap_or_default())
    }
}
