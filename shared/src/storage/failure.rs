//! What a failed statement says about the storage below the database.
//!
//! Codes: <https://www.sqlite.org/rescode.html>; the low byte of an extended code is its primary code.

use std::error::Error;

const BUSY: i32 = 5;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
/// Out of memory on the way to the disk: the disk is not at fault.
const IOERR_NOMEM: i32 = IOERR | (12 << 8);
/// The index of the WAL could not grow, for want of space.
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);

/// What is wrong with the storage. The first three are waited for, the others end the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFailure {
    /// No space is left. Writes are refused until there is some; reads go on.
    Full,
    /// Somebody else held the lock for longer than a statement waits for it. Treated as full.
    Locked,
    /// It cannot be written at present, for another reason that may pass. Treated as full.
    Unavailable,
    /// The files are no longer the ones that were opened. No error tells of it.
    Gone,
    /// The file is damaged, or the device below it fails. Nothing in it can be trusted before it is checked.
    Broken,
}

impl StorageFailure {
    /// For whoever asks why the service is not ready.
    pub fn why(self) -> &'static str {
        match self {
            Self::Full => "no space is left on the database's disk; writes are refused until there is some",
            Self::Locked => "another process holds the database's lock; writes are refused until it lets go",
            Self::Unavailable => {
                "the database cannot be written, the log says why; it is tried once a second"
            }
            Self::Broken => "the database is damaged; the service stops",
            Self::Gone => "the database was moved, removed or replaced; the service stops",
        }
    }

    /// The failure that `error`, or whatever caused it, tells of; `None` when the storage is not at fault.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut causes = std::iter::successors(Some(error), |&cause| cause.source());
        match causes.find_map(|cause| cause.downcast_ref::<sqlx::Error>())? {
            // Not PoolTimedOut: a queue before a connection is no fault of the storage.
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some(Self::Unavailable),
            sqlx::Error::Database(error) => Self::of_code(error.code()?.parse().ok()?),
            _ => None,
        }
    }

    fn of_code(extended: i32) -> Option<Self> {
        match (extended & 0xff, extended) {
            (FULL, _) | (IOERR, IOERR_SHMSIZE) => Some(Self::Full),
            (BUSY, _) => Some(Self::Locked),
            (READONLY | CANTOPEN, _) | (IOERR, IOERR_NOMEM) => Some(Self::Unavailable),
            (IOERR | CORRUPT | NOTADB, _) => Some(Self::Broken),
            _ => None,
        }
    }
}

/// Whether the error of a COMMIT tells for certain that nothing was stored. Only SQLITE_FULL does.
///
/// In WAL mode a transaction is stored once its last frame, the one with the commit mark, is whole in the
/// WAL. SQLite writes that frame last: with powersafe overwrite, its default, nothing is padded behind it,
/// and the sync after it never reports SQLITE_FULL. So SQLITE_FULL means that this frame or an earlier one is
/// missing or cut short, and its checksum keeps it from ever being taken for whole; SQLite rolls back by
/// itself, and the next transaction writes over the same place. Any other error may come after that frame,
/// from the sync or from the WAL's index, and then a later recovery may find the transaction. That is so for
/// SQLITE_IOERR_SHMSIZE too, although it also comes of a full disk.
///
/// Source: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log> and `walFrames`, `walWriteToLog`,
/// `unixWrite` and `sqlite3VdbeHalt` in SQLite 3.51.3.
pub(super) fn commit_never_happened(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()?.parse().ok()) == Some(FULL)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_code_tells_a_full_disk_from_a_broken_file() {
        const IOERR_FSYNC: i32 = IOERR | (4 << 8);
        const CORRUPT_INDEX: i32 = CORRUPT | (3 << 8);
        const BUSY_RECOVERY: i32 = BUSY | (1 << 8);
        const CONSTRAINT: i32 = 19;
        let cases = [
            (FULL, Some(StorageFailure::Full)),
            (IOERR_SHMSIZE, Some(StorageFailure::Full)),
            (IOERR_NOMEM, Some(StorageFailure::Unavailable)),
            (READONLY, Some(StorageFailure::Unavailable)),
            (IOERR_FSYNC, Some(StorageFailure::Broken)),
            (CORRUPT_INDEX, Some(StorageFailure::Broken)),
            (NOTADB, Some(StorageFailure::Broken)),
            (BUSY, Some(StorageFailure::Locked)),
            (BUSY_RECOVERY, Some(StorageFailure::Locked)),
            (CONSTRAINT, None),
        ];
        for (code, expected) in cases {
            assert_eq!(StorageFailure::of_code(code), expected, "{code}");
        }
    }

    #[test]
    fn a_failure_is_found_below_the_context_of_an_error() {
        let failed: Result<(), _> = Err(sqlx::Error::WorkerCrashed);
        let error = failed.context("read the outbox").context("one step").unwrap_err();
        assert_eq!(StorageFailure::of(error.as_ref()), Some(StorageFailure::Unavailable));
        assert_eq!(StorageFailure::of(&sqlx::Error::RowNotFound), None);
    }
}
