//! nats-server and both services as processes on 127.0.0.1.
//!
//! Each part can be killed and started again on its port and folder. Dropped, a [`Topology`] kills what runs.

mod config;

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use processes::broker::Running;
use processes::{Logs, Process, broker, nats_server, poll, token};
use rustix::process::Signal;
use tokio::time::timeout;

pub use self::config::{Links, Part, Ports, TopologyConfig};
use crate::http;

/// How long a service may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// The services drain for at most 10 s by default; after this they are killed.
const STOP: Duration = Duration::from_secs(15);

/// Held by the topology that uses a folder.
pub const LOCK_FILE: &str = "topology.lock";

/// Of the environment.
type Variables<'a> = &'a [(&'a str, String)];

#[derive(Debug)]
pub struct Topology {
    pub config: TopologyConfig,
    server: PathBuf,
    /// By [`Part`], so the services come before the broker: they are dropped, and so killed, in this order.
    processes: [Option<Process>; 3],
    _lock: File,
}

impl Topology {
    /// Starts all three parts and waits until both services are ready and connected to the broker.
    pub async fn start(config: TopologyConfig) -> Result<Self> {
        let server = nats_server::find_or_fetch()?;
        fs::create_dir_all(&config.folder)
            .with_context(|| format!("cannot create {}", config.folder.display()))?;
        let lock = lock(&config.folder)?;
        refuse_under_a_broker(&config.folder)?;
        let mut topology = Self { config, server, processes: [None, None, None], _lock: lock };
        for part in Part::IN_START_ORDER {
            topology.start_part(part).await?;
        }
        for part in [Part::Order, Part::Inventory] {
            topology.wait_until(part, r#""broker":"connected""#).await?;
        }
        Ok(topology)
    }

    /// Starts a part that does not run, and waits until it is ready; a service may be so without a broker.
    pub async fn start_part(&mut self, part: Part) -> Result<()> {
        self.start_part_with(part, &[], None).await
    }

    /// The same, this once with these variables, and with its log there instead of where it belongs.
    pub async fn start_part_with(
        &mut self,
        part: Part,
        more: Variables<'_>,
        logs: Option<&Logs>,
    ) -> Result<()> {
        self.spawn_part(part, more, logs)?;
        match part {
            Part::Broker => broker::wait_until_ready(self.config.ports.nats.number()).await,
            Part::Order | Part::Inventory => self.wait_until(part, r#""status":"ready""#).await,
        }
    }

    /// Starts a part and does not wait until it is ready.
    pub fn spawn_part(&mut self, part: Part, more: Variables<'_>, logs: Option<&Logs>) -> Result<()> {
        let mut command = self.config.command(part, &self.server);
        command.envs(more.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(part.name(), command, logs.unwrap_or(&self.config.logs))?;
        *self.slot(part) = Some(process);
        Ok(())
    }

    /// Waits until a part has ended by itself; an error if it still runs after `within`.
    pub async fn wait_for_end(&mut self, part: Part, within: Duration) -> Result<ExitStatus> {
        let process = self.slot(part).as_mut().with_context(|| format!("{} does not run", part.name()))?;
        let ended = timeout(within, process.wait()).await;
        let status = ended.with_context(|| format!("{} did not end by itself", part.name()))??;
        self.slot(part).take();
        Ok(status)
    }

    /// Replaces the further settings of both services; a part gets them with its next start.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.config.environment = environment;
    }

    /// Waits until `/readyz` of a service holds `expected`, or fails when the service ends before.
    pub async fn wait_until(&mut self, part: Part, expected: &str) -> Result<()> {
        let url = self.config.url(part);
        let ready = poll(START, Duration::from_millis(20), async || {
            let answer = http::get(&url, "/readyz").await;
            if answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.body).contains(expected)) {
                return Some(Ok(()));
            }
            let ended = self.slot(part).as_mut()?.ended().transpose()?;
            let name = part.name();
            Some(ended.and_then(|status| bail!("the {name} service ended while it started: {status}")))
        });
        let late = || Err(anyhow!("{url}/readyz did not show {expected} within {} s", START.as_secs()));
        let ready = ready.await.unwrap_or_else(late);
        ready.map_err(|error| anyhow!("{error}; {}", self.config.log_hint(part)))
    }

    /// `kill -9` of one part; its data stay as they are.
    pub async fn kill(&mut self, part: Part) -> Result<()> {
        let Some(mut process) = self.slot(part).take() else { return Ok(()) };
        process.kill().await
    }

    /// Sends a signal to a part, if it runs.
    pub fn signal(&mut self, part: Part, signal: Signal) -> Result<()> {
        self.slot(part).as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// `kill -9` of the broker, and whatever it has stored is gone.
    pub async fn wipe_broker(&mut self) -> Result<()> {
        self.kill(Part::Broker).await?;
        fs::remove_dir_all(self.config.folder.join("nats")).context("cannot erase the broker's data")
    }

    /// Lets one part finish its work and end. A status other than success is an error.
    pub async fn stop_part(&mut self, part: Part) -> Result<()> {
        stop(self.slot(part).take()).await
    }

    /// Stops both services, which drain, and then the broker.
    pub async fn stop(&mut self) -> Result<()> {
        let (order, inventory) = (self.slot(Part::Order).take(), self.slot(Part::Inventory).take());
        let (order, inventory) = tokio::join!(stop(order), stop(inventory));
        let broker = self.stop_part(Part::Broker).await;
        order.and(inventory).and(broker)
    }

    /// Waits until a part ends that nobody has stopped.
    pub async fn first_exit(&mut self) -> (Part, Result<ExitStatus>) {
        let [order, inventory, broker] = &mut self.processes;
        tokio::select! {
            status = wait(broker) => (Part::Broker, status),
            status = wait(order) => (Part::Order, status),
            status = wait(inventory) => (Part::Inventory, status),
        }
    }

    pub fn pid(&self, part: Part) -> Option<u32> {
        self.processes[part as usize].as_ref()?.pid()
    }

    pub fn order_url(&self) -> String {
        self.config.url(Part::Order)
    }

    pub fn inventory_url(&self) -> String {
        self.config.url(Part::Inventory)
    }

    pub fn nats_url(&self) -> String {
        self.config.url(Part::Broker)
    }

    /// A token that this topology's services accept.
    pub fn token(&self, sub: &str) -> Result<String> {
        token::sign(&self.config.jwt_secret, sub)
    }

    fn slot(&mut self, part: Part) -> &mut Option<Process> {
        &mut self.processes[part as usize]
    }
}

/// A broker holds no lock, and outlives a `sim up` that was ended with `kill -9`.
pub fn refuse_under_a_broker(folder: &Path) -> Result<()> {
    match broker::running_on(&folder.join("nats"))? {
        Some(Running { pid, command }) => bail!(
            "{} is in use by a nats-server; stop it first, with `kill {pid}`: {command}",
            folder.display()
        ),
        None => Ok(()),
    }
}

fn lock(folder: &Path) -> Result<File> {
    let file = File::create(folder.join(LOCK_FILE)).context("cannot create the topology's lock file")?;
    let free = file.try_lock().is_ok();
    ensure!(free, "a topology is already running on {}; stop it first", folder.display());
    Ok(file)
}

async fn stop(process: Option<Process>) -> Result<()> {
    let Some(mut process) = process else { return Ok(()) };
    let status = process.terminate(STOP).await?;
    // nats-server ends with 1 on SIGTERM, which says nothing.
    let clean = status.success() || process.name == Part::Broker.name();
    ensure!(clean, "{} did not stop cleanly: {status}", process.name);
    Ok(())
}

/// Never returns for a part that does not run.
async fn wait(process: &mut Option<Process>) -> Result<ExitStatus> {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}
