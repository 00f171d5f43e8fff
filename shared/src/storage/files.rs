//! The files of an open database: whether they are still the ones that were opened.
//!
//! A file that was moved, removed or replaced is written on by SQLite without a word, and nobody would find
//! those commits again.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, ensure};

use crate::storage::beside::{WHILE_OPEN, beside};
use crate::storage::lock::{Lock, locked_path};
use crate::storage::stamp::Stamp;

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

/// One database's files, open and locked.
#[derive(Debug)]
pub(super) struct Files {
    pub lock: Lock,
    opened: Vec<(PathBuf, FileId)>,
    /// Without one nobody notices when the file is written over.
    pub stamp: Option<Stamp>,
}

impl Files {
    /// The files that are open now. From here on some connection must be open all the time: SQLite removes
    /// what it keeps beside the file when the last one is closed.
    pub fn opened(lock: Lock) -> Result<Self> {
        let locked = locked_path(&lock.path);
        let is_locked = fs::metadata(&locked).map(FileId::from)? == FileId::from(lock.file.metadata()?);
        ensure!(is_locked, "{} was replaced while it was opened; start again", locked.display());
        let companions = WHILE_OPEN.map(|suffix| beside(&lock.path, suffix));
        let paths = [lock.path.clone(), locked].into_iter().chain(companions);
        let opened = paths.map(|path| fs::metadata(&path).map(|metadata| (path, metadata.into())));
        let opened =
            opened.collect::<io::Result<_>>().context("look at what SQLite keeps beside the file")?;
        Ok(Self { lock, opened, stamp: None })
    }

    /// The first file that is not the one that was opened; `None` while all are. Takes a few microseconds.
    pub fn missing(&self) -> Option<&Path> {
        let is_gone =
            |(path, id): &&(PathBuf, FileId)| fs::metadata(path).map(FileId::from).ok().as_ref() != Some(id);
        self.opened.iter().find(is_gone).map(|(path, _)| path.as_path())
    }

    /// Whether somebody has cut the database file, or copied another one over it.
    pub fn is_written_over(&self) -> bool {
        self.stamp.as_ref().is_some_and(|stamp| stamp.is_gone_from(&self.lock.file))
    }
}
