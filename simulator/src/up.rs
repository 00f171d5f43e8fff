//! `sim up`: the topology for a person, with its data in `db/`, until Ctrl-C or the end of the terminal.
//!
//! What it prints may have lost its reader, which must not keep it from stopping its parts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use processes::{Logs, Port, ports, token, workspace};
use shared::operations::log::STDOUT;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::binaries::{Binaries, Profile};
use crate::topology::{Links, Ports, Topology, TopologyConfig};

/// Runs nats-server and both services until Ctrl-C, with their data in db/.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Port of the order service
    #[arg(long, default_value_t = 3000, value_name = "PORT")]
    pub order_port: u16,
    /// Port of the inventory service
    #[arg(long, default_value_t = 3001, value_name = "PORT")]
    pub inventory_port: u16,
    /// Port for NATS clients
    #[arg(long, default_value_t = 4222, value_name = "PORT")]
    pub nats_port: u16,
    /// Port of the broker's monitoring
    #[arg(long, default_value_t = 8222, value_name = "PORT")]
    pub monitor_port: u16,
    /// Folder for the data, instead of db/
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
}

/// Runs the command to its end; an error if a part ended by itself.
pub async fn run(args: UpArgs) -> Result<()> {
    ports::check_free(&[
        ("--order-port", args.order_port),
        ("--inventory-port", args.inventory_port),
        ("--nats-port", args.nats_port),
        ("--monitor-port", args.monitor_port),
    ])?;
    let mut signals = Signals::listen()?;
    let config = config(args)?;
    let mut topology = tokio::select! {
        // Dropped half started, it takes down what runs.
        () = signals.next() => return Ok(()),
        topology = Topology::start(config) => topology?,
    };
    print_welcome(&topology)?;
    let exited = tokio::select! {
        () = signals.next() => None,
        exited = topology.first_exit() => Some(exited),
    };
    STDOUT.tell("stopping: services first, then the broker");
    let stopped = topology.stop().await;
    match exited {
        Some((part, status)) => bail!("{} ended by itself: {}", part.name(), status?),
        None => stopped,
    }
}

fn config(args: UpArgs) -> Result<TopologyConfig> {
    Ok(TopologyConfig {
        folder: args.data.unwrap_or_else(workspace::db),
        binaries: Binaries::build(Profile::Release)?,
        ports: Ports {
            order: Port::fixed(args.order_port),
            inventory: Port::fixed(args.inventory_port),
            nats: Port::fixed(args.nats_port),
            monitor: Port::fixed(args.monitor_port),
        },
        links: Links::default(),
        seed_file: None,
        logs: Logs::Prefixed,
        jwt_secret: token::secret(),
        environment: Vec::new(),
        broker_launcher: Vec::new(),
    })
}

fn print_welcome(topology: &Topology) -> Result<()> {
    let token = topology.token("demo")?;
    let [order, inventory, nats] = [topology.order_url(), topology.inventory_url(), topology.nats_url()];
    let (monitor, data) = (topology.config.ports.monitor.number(), topology.config.folder.display());
    STDOUT.tell(&format!(
        "
order service      {order}
inventory service  {inventory}
NATS               {nats}  (monitoring http://127.0.0.1:{monitor})
data               {data}

Place an order:
  curl -i {order}/orders -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         -d '{{\"productId\":\"1\",\"quantity\":2}}'
Ctrl-C stops everything.
"
    ));
    Ok(())
}

/// Ctrl-C, SIGTERM, and SIGHUP, which tells that the terminal is closed.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`, which means to outlive the terminal.
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    pub(crate) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether SIGHUP was ignored when this process began: to listen would undo that. Known on Linux only.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
