//! Copies of both databases out of running containers, by the services' own `backup` command.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::read::Databases;
use processes::workspace;

/// Takes a copy of order.db, of inventory.db, and of order.db again, in the order in which the audit reads them.
pub async fn copy_databases(folder: &Path) -> Result<Databases> {
    Ok(Databases {
        order: copy("order-service", folder.join("order.db")).await?,
        inventory: copy("inventory-service", folder.join("inventory.db")).await?,
        order_again: copy("order-service", folder.join("order-again.db")).await?,
    })
}

async fn copy(service: &str, path: PathBuf) -> Result<PathBuf> {
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut command = Command::new("docker");
    command.args(["compose", "exec", "-T", service, service, "backup", "-"]).current_dir(workspace::root());
    let status = command.stdin(Stdio::null()).stdout(file).status().await.context("cannot run docker")?;
    if !status.success() {
        bail!("docker compose could not take a backup of the {service}'s database: {status}");
    }
    Ok(path)
}
