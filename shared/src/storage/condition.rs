//! What is known of a database: whether it can be written, and whether anything may be answered from it.
//!
//! What may pass is waited for. A file that is damaged or gone ends the service.

use std::error::Error;
use std::io;
use std::path::Path;

use crate::storage::database::Database;
use crate::storage::failure::StorageFailure;
use crate::storage::suspect;

impl Database {
    /// Why it cannot be written: from the first failed write until [`Database::probe`] succeeds.
    pub fn failure(&self) -> Option<StorageFailure> {
        *self.failure.borrow()
    }

    /// Whether it can be written, as far as anybody knows.
    pub fn is_writable(&self) -> bool {
        self.failure().is_none()
    }

    /// Whether the file was found damaged or gone. Nothing more may be answered from it.
    pub fn is_unusable(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until the file is found damaged or gone; the error says what to do.
    pub async fn until_unusable(&self) -> anyhow::Error {
        let mut ended = self.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        anyhow::anyhow!(why.unwrap_or_default())
    }

    /// Takes note of what `error`, or whatever caused it, says about the storage, if anything.
    pub fn note_failure(&self, error: &(dyn Error + 'static)) {
        if let Some(failure) = StorageFailure::of(error) {
            self.refuse_writes(failure, error);
        }
    }

    /// Takes note of a failure that `error` tells of. A damaged file is never answered from again: a marker
    /// is left beside it.
    pub(super) fn refuse_writes(&self, failure: StorageFailure, error: &(dyn Error + 'static)) {
        let before = self.failure.send_replace(Some(failure));
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
        if self.is_unusable() {
            return;
        }
        let file = self.path().display();
        tracing::error!(database = %file, %error, "database damaged; the service stops");
        metrics::counter!("database_damaged_total").increment(1);
        suspect::leave_marker(self.path(), &error.to_string());
        self.end(format!(
            "the database {file} is damaged; the service stopped at once. The next start checks the file \
             before it serves; what was found is in {}",
            suspect::marker(self.path()).display()
        ));
    }

    /// Lets nothing more be answered from it.
    pub(super) fn end(&self, why: String) {
        self.ended.send_replace(Some(why));
    }

    /// Takes note of a write that succeeded.
    pub(super) fn note_writable(&self) {
        if self.failure.send_replace(None).is_some() {
            tracing::info!(database = %self.path().display(), "database writable again");
        }
    }

    /// Whether the files are the ones that were opened, and nobody has written over them. From the first time
    /// that they are not, writes are refused; [`Database::watch`] ends the service then.
    pub(super) fn is_in_place(&self) -> bool {
        // Whoever closes it lets SQLite remove what lies beside the file.
        if !self.writer.is_closed()
            && let Some(missing) = self.files.missing()
        {
            self.note_gone(missing);
            return false;
        }
        if self.files.is_written_over() {
            let error = io::Error::other("somebody has written over the file");
            self.refuse_writes(StorageFailure::Broken, &error);
            return false;
        }
        true
    }

    fn note_gone(&self, missing: &Path) {
        if self.failure.send_replace(Some(StorageFailure::Gone)) != Some(StorageFailure::Gone) {
            tracing::error!(
                database = %self.path().display(),
                file = %missing.display(),
                "the database was moved, removed or replaced while it was in use; the service stops"
            );
        }
    }
}
