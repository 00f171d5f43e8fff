//! The test broker as a process of this machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use processes::{Logs, Process, broker, nats_server};
use tempfile::TempDir;

use super::action::Action;

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
        local.spawn()?;
        Ok(local)
    }

    pub(super) async fn change(&mut self, action: Action) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            match action {
                Action::Stop => process.terminate(Duration::from_secs(10)).await.map(drop)?,
                _ => process.kill().await?,
            }
        }
        if action == Action::Wipe {
            fs::remove_dir_all(self.storage()).context("cannot erase the broker's storage")?;
        }
        match action {
            Action::Stop | Action::Kill => Ok(()),
            Action::StartAgain | Action::Wipe => self.spawn(),
        }
    }

    fn spawn(&mut self) -> Result<()> {
        let command = broker::command(&self.server, &self.storage(), self.port, -1);
        self.process = Some(Process::spawn("nats", command, &Logs::Folder(self.folder.path().to_owned()))?);
        Ok(())
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }
}
