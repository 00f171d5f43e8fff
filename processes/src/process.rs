//! A child process whose log lines are forwarded, and which never outlives its owner.
//!
//! Each child has a process group of its own: Ctrl-C reaches only `sim`, which then stops its parts in order.
//! A dropped [`Process`] is killed and waited for. Only a `kill -9` of the owner leaves children behind.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use shared::operations::log::STDOUT;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a killed process may take to disappear.
const GONE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub enum Logs {
    /// To standard output, each line with the part's name in front. Lines that nobody takes are dropped.
    Prefixed,
    /// To `NAME.log` in this folder, appended.
    Folder(PathBuf),
    /// To a pipe whose reader has gone away.
    Gone,
}

impl Logs {
    /// Whether somebody reads them on a screen, where colours help.
    pub fn reach_a_terminal(&self) -> bool {
        matches!(self, Self::Prefixed) && std::io::stdout().is_terminal()
    }
}

#[derive(Debug)]
pub struct Process {
    pub name: &'static str,
    child: Child,
}

impl Process {
    /// Starts `command` and forwards both of its outputs to `logs`.
    pub fn spawn(name: &'static str, mut command: Command, logs: &Logs) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        match logs {
            Logs::Prefixed => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            Logs::Folder(folder) => {
                let path = folder.join(format!("{name}.log"));
                let file = OpenOptions::new().create(true).append(true).open(&path);
                let file = file.with_context(|| format!("cannot open {}", path.display()))?;
                command.stdout(file.try_clone()?).stderr(file)
            }
            Logs::Gone => {
                let (_, writer) = std::io::pipe().context("cannot make a pipe")?;
                command.stdout(writer.try_clone()?).stderr(writer)
            }
        };
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        tokio::spawn(forward(name, child.stdout.take()));
        tokio::spawn(forward(name, child.stderr.take()));
        Ok(Self { name, child })
    }

    /// The process id; `None` once it has been waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// How the process ended, `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    /// `kill -9`, as a power cut would end it, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().await.map(drop)
    }

    /// Asks the process to finish its work and end; kills it and fails when it takes longer than `deadline`.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match timeout(deadline, self.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill().await?;
                bail!("{} did not stop within {} s and was killed", self.name, deadline.as_secs())
            }
        }
    }

    /// Sends `signal`; a process that has ended by itself is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else {
            return Ok(());
        };
        match kill_process_group(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send a signal to {}", self.name)),
        }
    }
}

impl Drop for Process {
    /// Waits, bounded: a folder can be removed only when nobody writes to it any more.
    fn drop(&mut self) {
        if !matches!(self.ended(), Ok(None)) || self.signal(Signal::KILL).is_err() {
            return;
        }
        let start = Instant::now();
        while matches!(self.ended(), Ok(None)) && start.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Goes on whatever becomes of standard output: a full pipe would otherwise wait for a reader that is gone.
async fn forward(name: &'static str, output: Option<impl AsyncRead + Unpin>) {
    let Some(output) = output else { return };
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        STDOUT.tell(&format!("{name:<9} | {}", String::from_utf8_lossy(&line)));
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A process with its log in `logged.log` of the folder.
    fn logged(script: &str) -> (Process, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::Folder(folder.path().to_owned());
        (Process::spawn("logged", shell(script), &logs).unwrap(), folder)
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone_at_once() {
        let process = Process::spawn("sleeper", shell("sleep 60"), &Logs::Prefixed).unwrap();
        let pid = Pid::from_raw(process.pid().unwrap() as i32).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[tokio::test]
    async fn a_paused_process_does_nothing_until_it_is_resumed() {
        let (process, folder) = logged("while :; do echo line; sleep 0.01; done");
        let written = || std::fs::metadata(folder.path().join("logged.log")).unwrap().len();
        let grows = async |from: u64| {
            while written() <= from {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(GONE, grows(0)).await.unwrap();
        process.signal(Signal::STOP).unwrap();
        // The stop is not immediate: the line under way may still be written.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let paused = written();
        timeout(Duration::from_millis(200), grows(paused)).await.unwrap_err();
        process.signal(Signal::CONT).unwrap();
        timeout(GONE, grows(paused)).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed_and_named() {
        let (mut process, folder) = logged("trap '' TERM; echo up; while :; do sleep 0.05; done");
        while !std::fs::read_to_string(folder.path().join("logged.log")).unwrap().contains("up") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = process.terminate(Duration::from_millis(100)).await.unwrap_err().to_string();
        assert!(error.contains("logged did not stop"), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_has_ended_can_be_stopped_again() {
        let mut process = Process::spawn("short", shell("exit 3"), &Logs::Prefixed).unwrap();
        assert_eq!(process.wait().await.unwrap().code(), Some(3));
        assert_eq!(process.terminate(GONE).await.unwrap().code(), Some(3));
    }
}
