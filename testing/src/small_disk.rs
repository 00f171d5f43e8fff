//! A small disk for a test: a tmpfs that only chosen processes see, and that the test can fill and free.
//!
//! It lives in a mount namespace of its own, which one idle process holds open; that process ends with the
//! test, however the test ends, so nothing is left behind. Needs Linux with user namespaces, or root. Where
//! neither is there, a test is skipped with a message; under CI it fails instead.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::{env, fs, io, process};

use tokio::process::Command;

use crate::expect;

/// The file that takes the free space.
const FILLER: &str = "filler";
/// The filler grows in pieces of so many bytes, so that less than this is left.
const PIECE: usize = 4096;

/// As an ordinary user, in a user namespace of its own; or as root, where there are no user namespaces.
const WAYS: [Way; 2] = [
    Way {
        unshare: &["--user", "--map-root-user", "--mount"],
        nsenter: &["--user", "--preserve-credentials", "--mount"],
    },
    Way { unshare: &["--mount"], nsenter: &["--mount"] },
];

/// The flags that make a mount namespace, and those that enter it.
#[derive(Debug, Clone, Copy)]
struct Way {
    unshare: &'static [&'static str],
    nsenter: &'static [&'static str],
}

/// A disk that is mounted over a folder, for the processes that are started on it.
#[derive(Debug)]
pub struct SmallDisk {
    way: Way,
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// An empty disk of this size over `folder`, which is created; `None` when this machine cannot have one,
    /// which is said on standard error.
    pub fn over(folder: &Path, megabytes: usize) -> Option<Self> {
        expect(&format!("create {}", folder.display()), fs::create_dir_all(folder));
        let held = WAYS.into_iter().find_map(|way| Some((way, hold(way, folder, megabytes)?)));
        let Some((way, holder)) = held else {
            assert!(env::var_os("CI").is_none(), "no small disk: neither user namespaces nor root");
            eprintln!(
                "SKIPPED: this machine cannot have a small disk: it has neither user namespaces nor root"
            );
            return None;
        };
        Some(Self { way, holder, folder: folder.to_owned() })
    }

    /// The folder that the disk is mounted over, as the processes on it name it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What to put in front of a command to run it on the disk. Its process id stays the same.
    pub fn launcher(&self) -> Vec<OsString> {
        let target = format!("--target={}", self.holder.id());
        let mut launcher: Vec<OsString> = vec!["nsenter".into(), target.into()];
        launcher.extend(self.way.nsenter.iter().map(OsString::from));
        launcher.push("--".into());
        launcher
    }

    /// A command that runs `program` on the disk.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let launcher = self.launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).arg(program);
        command
    }

    /// Takes all the space that is free.
    pub fn fill(&self) {
        match take_all(&self.inside().join(FILLER)) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {}
            other => panic!("cannot fill {}: {other:?}", self.folder.display()),
        }
    }

    /// Gives back so many bytes of what [`SmallDisk::fill`] took.
    pub fn give_back(&self, bytes: u64) {
        let shorten = || -> io::Result<()> {
            let filler = File::options().write(true).open(self.inside().join(FILLER))?;
            filler.set_len(filler.metadata()?.len().saturating_sub(bytes))
        };
        expect(&format!("give back space in {}", self.folder.display()), shorten());
    }

    /// How many bytes a file of the disk has.
    pub fn size_of(&self, name: &str) -> u64 {
        expect(name, fs::metadata(self.inside().join(name))).len()
    }

    /// Gives back all that [`SmallDisk::fill`] took.
    pub fn free(&self) {
        expect(&format!("free {}", self.folder.display()), fs::remove_file(self.inside().join(FILLER)));
    }

    /// Copies a database of the disk: the file and its WAL, which SQLite needs. Only while nothing writes.
    ///
    /// SQLite cannot open it from outside: it resolves the path through `/proc` to one that leads elsewhere.
    pub fn copy_database(&self, name: &str, to: &Path) {
        for suffix in ["", "-wal"] {
            let copy = format!("{}{suffix}", to.display());
            let copied = fs::copy(self.inside().join(format!("{name}{suffix}")), &copy);
            expect(&format!("copy {name}{suffix} to {copy}"), copied);
        }
    }

    /// The disk as it is seen from outside.
    fn inside(&self) -> PathBuf {
        let folder = self.folder.strip_prefix("/").unwrap_or(&self.folder);
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Ends with the error that there is no space left.
fn take_all(filler: &Path) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(filler)?;
    loop {
        file.write_all(&[0; PIECE])?;
    }
}

/// Mounts the disk in a namespace of its own, and a process that holds it until its standard input ends.
fn hold(way: Way, folder: &Path, megabytes: usize) -> Option<Child> {
    let script = format!(r#"mount -t tmpfs -o size={megabytes}m tmpfs "$0" && echo mounted && exec cat"#);
    let mut command = process::Command::new("unshare");
    command.args(way.unshare).args(["sh", "-c", &script]).arg(folder);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut line = String::new();
    let told = child.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
    if matches!(told, Some(Ok(_))) && line == "mounted\n" {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
