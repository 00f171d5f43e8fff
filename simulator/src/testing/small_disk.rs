//! A small disk for one process: a tmpfs that only this process sees, and that a test can fill and empty.
//!
//! The process runs in a mount namespace of its own, so nothing is left behind however the test ends. Needs Linux with user
//! namespaces, or root. Where neither is there, a test is skipped with a message; under CI it fails instead.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process,
};

use tokio::process::Command;

/// The file that takes the free space.
const FILLER: &str = "filler";
/// The filler grows in pieces of so many bytes, so that less than this is left.
const PIECE: usize = 4096;

/// How a process gets a mount namespace of its own: as an ordinary user, or as root where users may not.
const WAYS: [&[&str]; 2] = [&["unshare", "--user", "--map-root-user", "--mount"], &["unshare", "--mount"]];

/// A disk that is mounted over a folder for each process that is started on it; each begins with an empty one.
#[derive(Debug, Clone)]
pub struct SmallDisk {
    way: &'static [&'static str],
    folder: PathBuf,
    megabytes: usize,
}

impl SmallDisk {
    /// A disk of this size over `folder`, which is created; `None` when this machine cannot have one, which is said on standard error.
    pub fn over(folder: &Path, megabytes: usize) -> Option<Self> {
        if let Err(error) = fs::create_dir_all(folder) {
            panic!("cannot create {}: {error}", folder.display());
        }
        let Some(way) = WAYS.into_iter().find(|way| works(way)) else {
            assert!(
                env::var_os("CI").is_none(),
                "no small disk: this machine has neither user namespaces nor root"
            );
            eprintln!("SKIPPED: no small disk, since this machine has neither user namespaces nor root");
            return None;
        };
        Some(Self { way, folder: folder.to_owned(), megabytes })
    }

    /// The folder that the disk is mounted over.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What to put in front of a program and its arguments to run it on the disk. Its process id stays the same.
    pub fn launcher(&self) -> Vec<OsString> {
        let mount = format!(r#"mount -t tmpfs -o size={}m tmpfs "$0" && exec "$@""#, self.megabytes);
        let mut launcher: Vec<OsString> = self.way.iter().map(OsString::from).collect();
        launcher.extend(["sh".into(), "-c".into(), mount.into(), self.folder.clone().into_os_string()]);
        launcher
    }

    /// A command that runs `program` on the disk.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let launcher = self.launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).arg(program);
        command
    }

    /// The disk as the process with this id sees it, from outside. It is gone when the process is.
    pub fn inside(&self, pid: u32) -> PathBuf {
        let folder = self.folder.strip_prefix("/").unwrap_or(&self.folder);
        Path::new("/proc").join(pid.to_string()).join("root").join(folder)
    }
}

/// Takes all the space that is free in `folder`, which must be [inside](SmallDisk::inside) a small disk.
pub fn fill(folder: &Path) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(folder.join(FILLER))
        .unwrap_or_else(|error| panic!("cannot fill {}: {error}", folder.display()));
    loop {
        match file.write_all(&[0; PIECE]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("cannot fill {}: {error}", folder.display()),
        }
    }
}

/// Gives back what [`fill`] took.
pub fn free(folder: &Path) {
    if let Err(error) = fs::remove_file(folder.join(FILLER)) {
        panic!("cannot free {}: {error}", folder.display());
    }
}

/// Copies a database out of a disk: the file and its WAL, which SQLite needs both. Only while nothing writes.
///
/// SQLite cannot open it in place: it resolves the path through `/proc` to one that leads elsewhere.
pub fn copy_database(file: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        if let Err(error) = fs::copy(name(file), name(to)) {
            panic!("cannot copy {}: {error}", name(file).display());
        }
    }
}

/// Whether a process can mount a tmpfs this way.
fn works(way: &[&str]) -> bool {
    let mut command = process::Command::new(way[0]);
    command.args(&way[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    command.output().is_ok_and(|output| output.status.success())
}
