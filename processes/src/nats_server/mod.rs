//! Finds a nats-server that is new enough, and gets the pinned one where there is none.
//!
//! Order: `NATS_SERVER`, `PATH`, `target/nats-server-2.14.5/`, then [`download`]. An older server is never
//! used: before 2.14 some settings are dropped in silence.

mod download;
mod version;

use std::env;
use std::fs;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

pub use self::version::PINNED;
use self::version::require_new_enough;
use crate::workspace;

/// The path of a nats-server of at least version 2.14. Blocks while it downloads or builds one.
pub fn find_or_fetch() -> Result<PathBuf> {
    if let Some(path) = env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        require_new_enough(&path).context("the server that NATS_SERVER names cannot be used")?;
        return Ok(path);
    }
    find_on_path().map_or_else(fetched, Ok)
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
        download::fetch(&folder, &server)?;
    }
    Ok(server)
}
