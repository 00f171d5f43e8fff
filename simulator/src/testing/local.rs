//! The test broker as a process of this machine.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

use crate::process::{Logs, Process};
use crate::{broker, nats_server};

/// A broker with its storage in a folder of its own.
#[derive(Debug)]
pub(super) struct Local {
    // Before the folder: dropped first, so that nobody writes to the folder while it goes.
    process: Option<Process>,
    folder: TempDir,
    server: PathBuf,
    port: u16,
}

impl Local {
    pub(super) async fn start(port: u16) -> Result<Self> {
        // It may build a server, for which this thread's other tasks should not wait.
        let server = tokio::task::spawn_blocking(nats_server::find_or_fetch).await??;
        let folder = tempfile::tempdir().context("cannot create a folder for the broker")?;
        let mut local = Self { process: None, folder, server, port };
        local.start_again().await?;
        Ok(local)
    }

    pub(super) async fn start_again(&mut self) -> Result<()> {
        let command = broker::command(&self.server, &self.storage(), self.port, -1);
        self.process = Some(Process::spawn("nats", command, &Logs::Folder(self.folder.path().to_owned()))?);
        Ok(())
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(Duration::from_secs(10)).await.map(drop),
            None => Ok(()),
        }
    }

    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub(super) async fn wipe(&mut self) -> Result<()> {
        self.kill().await?;
        fs::remove_dir_all(self.storage()).context("cannot erase the broker's storage")?;
        self.start_again().await
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }
}
