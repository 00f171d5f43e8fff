//! Where things lie in this repository.

use std::env;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_owned()
}

/// Cargo's target folder: what is fetched and what tests share lies there, so `cargo clean` removes it.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The broker's configuration, the same file that the containers use.
pub fn nats_conf() -> PathBuf {
    root().join("nats.conf")
}

pub fn db() -> PathBuf {
    root().join("db")
}
