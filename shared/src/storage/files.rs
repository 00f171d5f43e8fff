//! The files of a database: locked for this process alone, and looked at whether they are still the ones that were opened.
//!
//! The lock belongs to the file and not to its name, so a second process is refused by whatever path it comes. A file that
//! was moved, removed or replaced is written on by SQLite without a word, and nobody would find those commits again.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};

use crate::storage::suspect::{self, beside};

/// What SQLite keeps beside the file while it is open: the newest commits, and their index.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Where the stamp stands in the header of a database file.
const STAMP_OFFSET: u64 = 68;

/// Which file it is, whatever it is called.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<Metadata> for FileId {
    fn from(metadata: Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// One database's files, in the hands of this process.
#[derive(Debug)]
pub(super) struct Files {
    // Without symbolic links, as SQLite itself names what it keeps beside the file.
    path: PathBuf,
    // Closing any descriptor of a file drops all the fcntl locks that the process holds on it, and SQLite's are such. So this
    // one, the only one beside SQLite's own, stays open as long as the database does.
    locked: File,
    opened: OnceLock<Vec<(PathBuf, FileId)>>,
    /// What the header of the database file may say.
    stamps: OnceLock<[u32; 2]>,
}

impl Files {
    /// Creates the file if there is none, and locks it. Fails when another process has it, or when it has several names.
    pub fn lock(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("create the folder {}", folder.display()))?;
        }
        let file = open(path)?;
        let path = path.canonicalize().with_context(|| format!("resolve the path {}", path.display()))?;
        let lock_file = lock_file(&path);
        let locked = if lock_file == path { file } else { open(&lock_file)? };
        take(&locked, &path)?;
        refuse_several_names(&path)?;
        refuse_emptied(&path)?;
        Ok(Self { path, locked, opened: OnceLock::new(), stamps: OnceLock::new() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes note of which files are open. From then on some connection must be open all the time: SQLite removes what it keeps
    /// beside the file when the last one is closed.
    pub fn note_opened(&self) -> Result<()> {
        let lock_file = lock_file(&self.path);
        let is_locked = fs::metadata(&lock_file).map(FileId::from)? == FileId::from(self.locked.metadata()?);
        ensure!(is_locked, "{} was replaced while it was opened; start again", lock_file.display());
        let companions = COMPANIONS.map(|suffix| beside(&self.path, suffix));
        let paths = [self.path.clone(), lock_file].into_iter().chain(companions);
        let opened = paths.map(|path| fs::metadata(&path).map(|metadata| (path, metadata.into())));
        let opened =
            opened.collect::<io::Result<_>>().context("look at what SQLite keeps beside the file")?;
        self.opened.get_or_init(|| opened);
        Ok(())
    }

    /// The first file that is not the one that was opened; `None` while all are in place. Takes a few microseconds.
    pub fn missing(&self) -> Option<&Path> {
        let is_gone =
            |(path, id): &&(PathBuf, FileId)| fs::metadata(path).map(FileId::from).ok().as_ref() != Some(id);
        self.opened.get()?.iter().find(is_gone).map(|(path, _)| path.as_path())
    }

    /// Takes note of what the header may say: what it says now, and what is still on its way to it in the WAL.
    pub fn note_stamp(&self, coming: u32) {
        let found = self.header_stamp().unwrap_or(coming);
        self.stamps.get_or_init(|| [found, coming]);
    }

    /// Whether somebody has written over the database file, or cut it: its header has another stamp then, or none. Takes a microsecond.
    pub fn is_written_over(&self) -> bool {
        let Some(stamps) = self.stamps.get() else { return false };
        match self.header_stamp() {
            Ok(found) => !stamps.contains(&found),
            // Any other failure of a read is SQLite's to find.
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        }
    }

    /// The application id in the header of the file, which SQLite only carries.
    ///
    /// Source: <https://www.sqlite.org/fileformat2.html#application_id>.
    pub fn header_stamp(&self) -> io::Result<u32> {
        let mut stamp = [0; 4];
        self.locked.read_exact_at(&mut stamp, STAMP_OFFSET)?;
        Ok(u32::from_be_bytes(stamp))
    }

    /// Leaves the files to whoever opens them next. Only after every connection of this process is closed.
    pub fn unlock(&self) {
        if let Err(error) = self.locked.unlock() {
            tracing::warn!(database = %self.path.display(), %error, "the lock is held until the process ends");
        }
    }
}

/// What is locked: on Linux the database file itself, since flock(2) and SQLite's own fcntl(2) locks do not see each other
/// there. On BSD and macOS they exclude each other, so that a file beside it has to do.
fn lock_file(path: &Path) -> PathBuf {
    if cfg!(target_os = "linux") { path.to_owned() } else { beside(path, ".lock") }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn take(file: &File, database: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!(
            "another process uses the database {}, perhaps by another name of it; stop it, or set DATABASE to another file",
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
            "the database {file} is empty, and {} is left of one that was not: bring {file} back, or restore a backup; to begin with \
             an empty database, move {file}-wal, {file}-shm and {file}.suspect away",
            left.display(),
            file = database.display()
        ),
    }
}

/// SQLite keeps the newest commits beside the name by which a file is opened: under another name of it they are lost.
fn refuse_several_names(database: &Path) -> Result<()> {
    let names = fs::metadata(database).with_context(|| format!("look at {}", database.display()))?.nlink();
    ensure!(
        names == 1,
        "the database {} has {names} names (hard links), and its newest commits may lie beside another one: keep the name that \
         has a -wal file beside it, and remove the others",
        database.display()
    );
    Ok(())
}
