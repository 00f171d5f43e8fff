//! What lies beside a database file and belongs to it.

use std::path::{Path, PathBuf};

/// What SQLite keeps beside the file while it is open: the newest commits, and their index.
pub const WHILE_OPEN: [&str; 2] = ["-wal", "-shm"];
/// All that may lie there: also what an interrupted write leaves, a lock, and the marker of a damaged file.
pub const ALL: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".suspect"];

/// The file with the database's own name and `suffix` after it.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
