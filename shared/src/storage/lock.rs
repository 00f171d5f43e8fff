//! The lock on a database: one process alone has it, by whatever path another one comes.
//!
//! It belongs to the file and not to its name, and lasts as long as the process holds it, also when the
//! process is killed.

use std::fs;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::storage::beside::beside;
use crate::storage::suspect;

/// A database file in the hands of this process.
#[derive(Debug)]
pub(super) struct Lock {
    /// Without symbolic links, as SQLite itself names what it keeps beside the file.
    pub path: PathBuf,
    /// What is locked; on Linux the database itself.
    ///
    /// Closing any descriptor of a file drops all the fcntl locks that the process holds on it, and SQLite's
    /// are such. So this one, the only one beside SQLite's own, stays open as long as the database does.
    pub file: File,
}

impl Lock {
    /// Locks the file, which is created if there is none. Fails when another process has it.
    pub fn take(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("create the folder {}", folder.display()))?;
        }
        let file = open(path)?;
        let path = path.canonicalize().with_context(|| format!("resolve the path {}", path.display()))?;
        let locked = locked_path(&path);
        let file = if locked == path { file } else { open(&locked)? };
        lock(&file, &path)?;
        refuse_several_names(&path)?;
        refuse_emptied(&path)?;
        Ok(Self { path, file })
    }

    /// Leaves the file to whoever opens it next. Only after every connection of this process is closed.
    pub fn release(&self) {
        if let Err(error) = self.file.unlock() {
            let database = self.path.display();
            tracing::warn!(%database, %error, "the lock is held until the process ends");
        }
    }
}

/// What is locked: on Linux the database file itself, since flock(2) and SQLite's own fcntl(2) locks do not
/// see each other there. On BSD and macOS they exclude each other, so that a file beside it has to do.
pub(super) fn locked_path(database: &Path) -> PathBuf {
    if cfg!(target_os = "linux") { database.to_owned() } else { beside(database, ".lock") }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn lock(file: &File, database: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!(
            "another process uses the database {}, perhaps by another name of it; stop it, or set DATABASE \
             to another file",
            database.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", database.display())),
    }
}

/// SQLite takes an empty file for a new database, and removes the WAL beside it, whatever that holds.
fn refuse_emptied(database: &Path) -> Result<()> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size(database) > 0 {
        return Ok(());
    }
    let left = [suspect::marker(database), beside(database, "-wal")].into_iter().find(|path| size(path) > 0);
    match left {
        None => Ok(()),
        Some(left) => bail!(
            "the database {file} is empty, and {} is left of one that was not: bring {file} back, or restore \
             a backup; to begin with an empty database, move {file}-wal, {file}-shm and {file}.suspect \
             away",
            left.display(),
            file = database.display()
        ),
    }
}

/// SQLite keeps the newest commits beside the name by which a file is opened: under another they are lost.
fn refuse_several_names(database: &Path) -> Result<()> {
    let names = fs::metadata(database).with_context(|| format!("look at {}", database.display()))?.nlink();
    ensure!(
        names == 1,
        "the database {} has {names} names (hard links), and its newest commits may lie beside another one: \
         keep the name that has a -wal file beside it, and remove the others",
        database.display()
    );
    Ok(())
}
