//! Finds a nats-server that is new enough, and gets the pinned one where there is none.
//!
//! Order: `NATS_SERVER`, `PATH`, `target/nats-server-2.14.5/`, then [`crate::nats_download`]. An older server is never
//! used: before 2.14 some settings are dropped in silence.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{nats_download, workspace};

/// The version that is fetched where none is installed.
pub const PINNED: &str = "2.14.5";

/// The oldest version that the services accept.
const OLDEST: (u32, u32) = (2, 14);

/// The path of a nats-server of at least version 2.14. Blocks while it downloads or builds one.
pub fn find_or_fetch() -> Result<PathBuf> {
    if let Some(path) = env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        require_new_enough(&path).context("the server that NATS_SERVER names cannot be used")?;
        return Ok(path);
    }
    match find_on_path() {
        Some(path) => Ok(path),
        None => fetched(),
    }
}

/// Fails unless `path` is a nats-server that runs here and is new enough.
pub fn require_new_enough(path: &Path) -> Result<()> {
    let output =
        Command::new(path).arg("-v").output().with_context(|| format!("cannot run {} -v", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text)
        .with_context(|| format!("{} -v does not tell a version: {text:?}", path.display()))?;
    if version < OLDEST {
        bail!("{} is version {}.{}, and 2.14 or newer is needed", path.display(), version.0, version.1);
    }
    Ok(())
}

fn find_on_path() -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let candidates = env::split_paths(&folders).map(|folder| folder.join("nats-server"));
    candidates.filter(|path| path.is_file()).find(|path| match require_new_enough(path) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("nats-server: passing over the one on PATH: {error:#}");
            false
        }
    })
}

/// The pinned server below `target/`. The lock lets parallel test processes wait for one download.
fn fetched() -> Result<PathBuf> {
    let folder = workspace::target().join(format!("nats-server-{PINNED}"));
    let server = folder.join("nats-server");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock =
        File::create(folder.join("lock")).context("cannot create the lock file of the nats-server folder")?;
    lock.lock().context("cannot lock the nats-server folder")?;
    if !server.is_file() {
        nats_download::fetch(&folder, &server)?;
    }
    Ok(server)
}

/// Major and minor number in a line such as `nats-server: v2.14.5`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.trim().rsplit_once(": v")?;
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_numbers_and_not_as_text() {
        assert_eq!(parse_version("nats-server: v2.14.5\n"), Some((2, 14)));
        assert_eq!(parse_version("nats-server: v2.14.2-RC.1"), Some((2, 14)));
        assert!(parse_version("nats-server: v2.9.25") < Some(OLDEST));
        assert!(parse_version("nats-server: v10.0.0") > Some(OLDEST));
    }

    #[test]
    fn what_is_no_nats_server_has_no_version() {
        assert_eq!(parse_version("usage: something else"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn a_program_that_is_no_nats_server_is_refused_by_name() {
        let error = format!("{:#}", require_new_enough(Path::new("/no/such/nats-server")).unwrap_err());
        assert!(error.contains("/no/such/nats-server"), "{error}");
    }
}
