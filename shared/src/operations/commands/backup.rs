//! The `backup` command: a consistent, verified copy of the database, made while the service runs.
//!
//! `VACUUM INTO` copies one read transaction to a file in a temporary folder beside the target. It is checked
//! and flushed, and only then gets its name: there is never half a file under it. The copy has no identity.
//! What a killed backup left behind is removed by the next one.

use std::fs::File;
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::oneshot;

use crate::operations::{log, shutdown};
use crate::storage::beside;

/// How the names of the temporary folders begin.
const PREFIX: &str = ".backup-";
/// So many random characters follow.
const RANDOM: usize = 6;
/// The copy in it, and what SQLite keeps beside it while it is made.
const DRAFTS: [&str; 2] = ["draft.db", "draft.db-journal"];

#[derive(Debug, Clone, Args)]
pub struct BackupCommand {
    /// The new file, or `-` for standard output
    file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

impl BackupCommand {
    /// Writes the copy, and on standard error what it holds. SIGINT and SIGTERM leave no file behind.
    pub async fn run(&self, database: &Path) -> Result<()> {
        let contents = shutdown::on_signal(async |interrupted| {
            tokio::select! {
                contents = self.write(database) => contents,
                () = interrupted.cancelled() => bail!("interrupted; there is no backup"),
            }
        });
        log::STDERR.tell(&format!("backup of {}: {}", database.display(), contents.await?));
        Ok(())
    }

    async fn write(&self, database: &Path) -> Result<String> {
        ensure!(database.is_file(), "there is no database {}", database.display());
        if self.file == Path::new("-") {
            ensure!(!stdout().is_terminal(), "standard output is a terminal; redirect it, or name a file");
            let (copy, contents) = copy(database, folder_of(database)).await?;
            print(copy.file.path()).await.context("write to standard output")?;
            return Ok(contents);
        }
        self.check_target(database)?;
        let (copy, contents) = copy(database, folder_of(&self.file)).await?;
        self.name(copy)?;
        Ok(contents)
    }

    /// Refuses a name under which the copy would destroy something, or would be read wrongly.
    fn check_target(&self, database: &Path) -> Result<()> {
        let file = self.file.display();
        if let (Ok(target), Ok(source)) = (self.file.canonicalize(), database.canonicalize()) {
            ensure!(target != source, "{file} is the database itself");
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        for suffix in beside::ALL {
            let is_free = !name.ends_with(suffix);
            ensure!(is_free, "{file} has the name of a database's own {suffix}; choose another name");
        }
        ensure!(self.force || !self.file.exists(), "{file} exists; --force replaces it");
        for suffix in ["-wal", "-journal"] {
            let is_free = !beside::beside(&self.file, suffix).exists();
            // SQLite would take what is in there for the newest part of the copy.
            ensure!(is_free, "{file}{suffix} belongs to another database; choose another name");
        }
        Ok(())
    }

    fn name(&self, Draft { file, .. }: Draft) -> Result<()> {
        let named = if self.force { file.persist(&self.file) } else { file.persist_noclobber(&self.file) };
        let named = named.map_err(|failed| failed.error);
        named.with_context(|| format!("name the copy {}", self.file.display()))?;
        let folder = folder_of(&self.file);
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed.with_context(|| format!("flush the folder {}", folder.display()))
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A copy that has no name yet, in a temporary folder; both are deleted when they are dropped.
struct Draft {
    file: NamedTempFile,
    // Locked as long as the process lives, so that others can tell it from one that was left behind.
    _lock: File,
    _folder: TempDir,
}

impl Draft {
    fn beside(target_folder: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).tempdir_in(target_folder)?;
        let lock = File::open(folder.path())?;
        lock.lock()?;
        let file = tempfile::Builder::new().prefix(DRAFTS[0]).rand_bytes(0).tempfile_in(&folder)?;
        Ok(Self { file, _lock: lock, _folder: folder })
    }
}

/// Removes what killed backups left in `folder`. A failure is no reason to make no backup.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().filter(is_draft_folder).map(|entry| entry.path()) {
        if !File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok()) {
            continue;
        }
        // Without recursion: a folder that holds anything else is somebody else's.
        let removed = DRAFTS.iter().try_for_each(|name| remove_if_there(&path.join(name)));
        let removed = removed.and_then(|()| fs::remove_dir(&path));
        log::STDERR.tell(&match removed {
            Ok(()) => format!("removed {}, left by a backup that was killed", path.display()),
            Err(error) => format!("cannot remove {}: {error}", path.display()),
        });
    }
}

/// A folder that is called as a draft's is, and holds a draft and nothing else.
fn is_draft_folder(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    let is_draft = |held: io::Result<fs::DirEntry>| {
        held.is_ok_and(|held| DRAFTS.iter().any(|name| held.file_name() == *name))
    };
    random.is_some_and(|random| random.len() == RANDOM)
        && entry.file_type().is_ok_and(|kind| kind.is_dir())
        && fs::read_dir(entry.path()).is_ok_and(|mut held| held.all(is_draft))
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A verified copy that is on disk, and how large it is and what it holds.
async fn copy(database: &Path, folder: &Path) -> Result<(Draft, String)> {
    remove_leftovers(folder);
    let (source, into) = (database.display(), folder.display());
    let copy = Draft::beside(folder).with_context(|| format!("make a file in the folder {into}"))?;
    let filled = fill(&copy.file, database).await;
    filled.with_context(|| format!("copy {source} into the folder {into}"))?;
    let rows = finish(copy.file.path()).await.context("check the copy")?;
    let file = copy.file.as_file();
    file.sync_all().context("flush the copy to disk")?;
    let contents = format!("{} bytes; rows: {rows}", file.metadata()?.len());
    Ok((copy, contents))
}

/// Temporary files of SQLite stay in memory: a container may write only its database's folder.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file).pragma("temp_store", "MEMORY")
}

/// Copies what is committed now. The service goes on writing meanwhile.
async fn fill(copy: &NamedTempFile, database: &Path) -> Result<()> {
    let mut source = SqliteConnection::connect_with(&options(database).read_only(true)).await?;
    let target = copy.path().to_str().context("the folder's name is not UTF-8")?;
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut source).await?;
    Ok(source.close().await?)
}

/// Takes the identity away, checks everything, and counts the rows of each table.
async fn finish(copy: &Path) -> Result<String> {
    // Without a journal file: nobody else sees the copy, and a failure deletes it.
    let options = options(copy).journal_mode(SqliteJournalMode::Memory);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await?;
    // The stamp of the database that is in use: copied over that one, this one must not pass for it.
    sqlx::query("PRAGMA application_id = 0").execute(&mut connection).await?;
    // A file that no newer version has opened yet has no such table, and needs nothing.
    if tables.iter().any(|name| name == "database_identity") {
        sqlx::query("UPDATE database_identity SET id = '', inode = 0").execute(&mut connection).await?;
    }
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await?;
    ensure!(found == ["ok"], "the database is damaged: {}", found.join("; "));
    let mut counts = Vec::new();
    for table in tables.iter().filter(|name| !name.starts_with('_')) {
        let query = AssertSqlSafe(format!("SELECT count(*) FROM \"{table}\""));
        let rows: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
        counts.push(format!("{table} {rows}"));
    }
    connection.close().await?;
    Ok(counts.join(", "))
}

/// The file's bytes on standard output, and nothing else.
async fn print(file: &Path) -> Result<()> {
    let mut file = File::open(file)?;
    let (done, printed) = oneshot::channel();
    // A thread of its own: an interrupt does not have to wait for whoever reads the output.
    std::thread::spawn(move || {
        let mut output = stdout().lock();
        let _ = done.send(io::copy(&mut file, &mut output).and_then(|_| output.flush()));
    });
    Ok(printed.await??)
}
