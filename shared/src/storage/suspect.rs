//! A database that was found damaged is not served again before it passes a check.
//!
//! Whoever finds the damage leaves a marker beside the file, `<file>.suspect`, and the process ends. The next
//! start checks the file while the marker is there: a sound file loses the marker, a damaged one is refused.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, anyhow};
use sqlx::SqliteConnection;

use crate::clock::{now_ms, rfc3339};
use crate::storage::beside::beside;
use crate::storage::failure::StorageFailure;

/// Findings named in a refusal, at most; the first ones say enough.
const FINDINGS_MAX: usize = 5;

/// Where the marker of a database lies.
pub fn marker(database: &Path) -> PathBuf {
    beside(database, ".suspect")
}

/// Leaves the marker, with time and cause. One that cannot be written is logged: the process ends anyway.
pub(crate) fn leave_marker(database: &Path, cause: &str) {
    let marker = marker(database);
    let write = || -> io::Result<()> {
        let mut file = File::create(&marker)?;
        writeln!(file, "{} {cause}", rfc3339(now_ms()))?;
        file.sync_all()
    };
    if let Err(error) = write() {
        tracing::error!(
            marker = %marker.display(),
            %error,
            "marker not written; the next start does not check the database by itself"
        );
    }
}

/// Checks the database if its marker is there; a sound one loses the marker.
///
/// The whole check, also of each index against its table: a mixture of two states shows only there.
pub(crate) async fn check(database: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let marker = marker(database);
    let Some(cause) = read(&marker)? else { return Ok(()) };
    let (file, cause) = (database.display(), cause.trim());
    tracing::warn!(database = %file, cause, "the database was found damaged before; it is checked first");
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(connection).await?;
    if findings != ["ok"] {
        let named = &findings[..findings.len().min(FINDINGS_MAX)];
        return Err(refusal(database, &named.join("; ")));
    }
    fs::remove_file(&marker).with_context(|| format!("remove the marker {}", marker.display()))?;
    tracing::info!(database = %file, "the database passed its check; the marker is removed");
    Ok(())
}

/// What the marker says; `None` when there is none. One that cannot be read is there all the same.
fn read(marker: &Path) -> Result<Option<String>> {
    match fs::read(marker) {
        Ok(cause) => Ok(Some(String::from_utf8_lossy(&cause).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("read the marker {}, which tells whether the database is damaged", marker.display())
        }),
    }
}

/// An error of the start, which says what to do. Where it tells of a damaged file, the marker is left.
pub(crate) fn explain(database: &Path, error: anyhow::Error) -> anyhow::Error {
    match StorageFailure::of(error.as_ref()) {
        Some(StorageFailure::Broken) => {
            let cause = format!("{error:#}");
            leave_marker(database, &cause);
            refusal(database, &cause)
        }
        Some(StorageFailure::Full) => error.context("the disk is full: make room, and start again"),
        Some(StorageFailure::Locked) => error.context(format!(
            "somebody else holds the lock of the database {}: end whatever writes it, and start again",
            database.display()
        )),
        _ => error,
    }
}

/// Why a damaged database is not served, and what to do.
///
/// A `-wal` file that stays beside a restored backup would be replayed into it.
pub(crate) fn refusal(database: &Path, finding: &str) -> anyhow::Error {
    let file = database.display();
    anyhow!(
        "the database {file} is damaged and is not served: {finding}. Restore a backup: move {file}, \
         {file}-wal and {file}-shm away (all three belong together), put the backup in place of {file}, and \
         start again. The marker {file}.suspect goes by itself when the file passes its check"
    )
}
