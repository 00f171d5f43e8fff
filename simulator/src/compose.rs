//! The topology that `docker compose` runs, by the commands that a person would use.
//!
//! Its project is this repository's, or `COMPOSE_PROJECT_NAME`, as for every such command.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use processes::workspace;
use tokio::process::Command;
use tokio::time::timeout;

use crate::check::Databases;
use crate::topology::Part;

/// How long a command may take; stopping a container takes as long as its process drains.
const PATIENCE: Duration = Duration::from_secs(60);

/// The id of the running container of a part.
pub async fn container(part: Part) -> Result<String> {
    let (service, _) = service(part);
    let ids = docker(&["compose", "ps", "--quiet", "--status", "running", service]).await?;
    ensure!(
        !ids.is_empty(),
        "no container of the service {service} runs; start it with `docker compose up`, or with \
         `docker compose unpause` if `docker compose ps --all` says that it is paused"
    );
    ensure!(ids.lines().count() == 1, "more than one container of the service {service} runs");
    Ok(ids)
}

/// Where a part can be reached, such as `127.0.0.1:3000`.
pub async fn address(part: Part) -> Result<String> {
    let (service, port) = service(part);
    docker(&["compose", "port", service, port]).await
}

/// Takes copies of order.db, inventory.db, and order.db again, in the order in which the audit reads them.
pub async fn copy_databases(folder: &Path) -> Result<Databases> {
    Ok(Databases {
        order: copy(Part::Order, folder.join("order.db")).await?,
        inventory: copy(Part::Inventory, folder.join("inventory.db")).await?,
        order_again: copy(Part::Order, folder.join("order-again.db")).await?,
    })
}

/// By the service's own `backup` command.
async fn copy(part: Part, path: PathBuf) -> Result<PathBuf> {
    let (file, (service, _)) = (File::create(&path), service(part));
    let mut command = command(&["compose", "exec", "-T", service, service, "backup", "-"]);
    command.stdout(file.with_context(|| format!("cannot create {}", path.display()))?);
    let status = command.status().await.context("cannot run docker")?;
    ensure!(status.success(), "docker compose could not take a backup of the {service}'s database: {status}");
    Ok(path)
}

/// Runs `docker` with these arguments, and returns what it prints.
pub async fn docker(arguments: &[&str]) -> Result<String> {
    let text = format!("docker {}", arguments.join(" "));
    let output = timeout(PATIENCE, command(arguments).output()).await;
    let output =
        output.with_context(|| format!("{text} did not end in time"))?.context("cannot run docker")?;
    ensure!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).current_dir(workspace::root()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Its name and its port in docker-compose.yml.
fn service(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Broker => ("nats", "4222"),
        Part::Order => ("order-service", "3000"),
        Part::Inventory => ("inventory-service", "3001"),
    }
}
