//! A half of the bound, seen by `sim bench`: started, told to go, and ended.

use std::process::{ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use processes::Port;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::arguments::Half;
use super::protocol::{READY, Told};
use crate::topology::Topology;

/// How long a half may take until it is ready, and until it has ended; a killed one is gone much sooner.
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when it is dropped, and waited for: the folder can go only when nobody writes to it any more.
pub(super) struct HalfProcess {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl HalfProcess {
    /// Starts it in the topology's folder, and waits until it is ready.
    pub async fn start(
        topology: &Topology,
        half: Half,
        connections: u32,
        duration: Duration,
        listen: Option<&Port>,
    ) -> Result<Self> {
        let name = match half {
            Half::Order => "order",
            Half::Inventory => "inventory",
        };
        let mut command = Command::new(std::env::current_exe().context("cannot tell where sim lies")?);
        command.args(["bound", name, "--nats-url", &topology.nats_url()]);
        command.arg("--database").arg(topology.config.folder.join(format!("bound-{name}.db")));
        command.args(["--connections", &connections.to_string()]);
        command.args(["--duration", &format!("{}ns", duration.as_nanos())]);
        if let Some(port) = listen {
            command.args(["--listen", &port.number().to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("cannot start a half of the bound")?;
        let output = child.stdout.take().context("a half has no output")?;
        let mut process = Self { input: child.stdin.take(), child, lines: BufReader::new(output).lines() };
        let line = timeout(PATIENCE, process.line()).await.context("a half was not ready in time")??;
        ensure!(line == READY, "a half said {line:?} instead of {READY:?}");
        Ok(process)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub async fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("a half was ended")?;
        input.write_all(b"go\n").await.context("a half does not listen")
    }

    /// What it measured; waits for it.
    pub async fn told(&mut self) -> Result<Told> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("a half said {line:?}"))
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Has it finish its work and end.
    pub async fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = timeout(PATIENCE, self.child.wait()).await.context("a half did not end in time")??;
        ensure!(status.success(), "a half of the bound failed: {status}");
        Ok(())
    }

    async fn line(&mut self) -> Result<String> {
        let line = self.lines.next_line().await.context("cannot read what a half says")?;
        line.context("a half of the bound ended early")
    }
}

impl Drop for HalfProcess {
    fn drop(&mut self) {
        let start = Instant::now();
        let _ = self.child.start_kill();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(2));
        }
    }
}
