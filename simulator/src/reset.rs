//! `sim reset`: erases the data of `sim up`, and nothing while it runs.

use std::fs;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use processes::workspace;
use shared::storage::beside;

use crate::printing::print;
use crate::topology::{LOCK_FILE, refuse_under_a_broker};

/// Held by the topology and by each service for as long as it uses the folder; where flock(2) and SQLite's
/// own locks exclude each other, a service locks a file beside its database.
const LOCKS: [&str; 5] = [LOCK_FILE, "order.db", "inventory.db", "order.db.lock", "inventory.db.lock"];

const DATABASES: [&str; 2] = ["order.db", "inventory.db"];

/// Erases the data of `sim up` in db/; refuses while something runs on it.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Folder with the data, instead of db/
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
}

pub fn run(args: ResetArgs) -> Result<()> {
    let folder = args.data.unwrap_or_else(workspace::db);
    // Held until the end, so that nothing starts on half erased data.
    let _locks = take_locks(&folder)?;
    refuse_under_a_broker(&folder)?;
    let erased = erase(&folder)?;
    match erased.as_slice() {
        [] => print(format_args!("nothing to erase in {}\n", folder.display())),
        names => print(format_args!("erased in {}: {}\n", folder.display(), names.join(", "))),
    }
    Ok(())
}

fn take_locks(folder: &Path) -> Result<Vec<File>> {
    let mut locks = Vec::new();
    for name in LOCKS {
        let file = match File::options().write(true).open(folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot open {name}")),
        };
        if file.try_lock().is_err() {
            bail!("{} is in use ({name} is locked); stop `sim up` and its services first", folder.display());
        }
        locks.push(file);
    }
    Ok(locks)
}

fn erase(folder: &Path) -> Result<Vec<String>> {
    let mut erased = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(erased),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "nats" {
            fs::remove_dir_all(entry.path()).context("cannot erase nats/")?;
        } else if name == LOCK_FILE || is_of_a_database(&name) {
            fs::remove_file(entry.path()).with_context(|| format!("cannot erase {name}"))?;
        } else {
            continue;
        }
        erased.push(name);
    }
    erased.sort_unstable();
    Ok(erased)
}

/// Anything else is somebody's, such as a backup.
fn is_of_a_database(name: &str) -> bool {
    let mut rests = DATABASES.iter().filter_map(|database| name.strip_prefix(database));
    rests.any(|rest| rest.is_empty() || beside::ALL.contains(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("nats")).unwrap();
        folder
    }

    fn reset(folder: &Path) -> Result<()> {
        run(ResetArgs { data: Some(folder.to_owned()) })
    }

    #[test]
    fn only_the_topologys_own_files_are_erased_and_a_backup_beside_them_stays() {
        let own = ["order.db", "order.db-wal", "order.db-shm", "order.db-journal", "order.db.lock"];
        let others = [".gitignore", "inventory.db-2026", "notes", "order.db.bak", "order.db.gz"];
        let folder = folder_with(&[&own[..], &["inventory.db", "inventory.db.suspect"], &others].concat());
        reset(folder.path()).unwrap();
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort_unstable();
        assert_eq!(left, others);
    }

    #[test]
    fn nothing_is_erased_while_a_service_holds_its_lock() {
        let folder = folder_with(&["order.db", "inventory.db", "inventory.db.lock"]);
        for name in ["inventory.db", "inventory.db.lock"] {
            let held = File::open(folder.path().join(name)).unwrap();
            held.lock().unwrap();
            let error = reset(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is locked")), "{error}");
            assert!(folder.path().join("order.db").exists());
        }
    }

    #[test]
    fn a_folder_that_was_never_used_is_no_error() {
        reset(Path::new("/no/such/folder")).unwrap();
    }
}
