//! `sim up`: the topology for a person, with its data in `db/`, until Ctrl-C or the end of the terminal.
//!
//! What it prints may have lost its reader, which must not keep it from stopping its parts.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, value_parser};
use processes::{Logs, Port, ports, token, workspace};
use shared::operations::log::STDOUT;

use crate::binaries::{Binaries, Profile};
use crate::signals::Signals;
use crate::topology::{Links, Ports, Topology, TopologyConfig};

/// Runs nats-server and both services until Ctrl-C, with their data in db/.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Port of the order service
    #[arg(long, default_value_t = 3000, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub order_port: u16,
    /// Port of the inventory service
    #[arg(long, default_value_t = 3001, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub inventory_port: u16,
    /// Port for NATS clients
    #[arg(long, default_value_t = 4222, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub nats_port: u16,
    /// Port of the broker's monitoring
    #[arg(long, default_value_t = 8222, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
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
    tell_step(
        "1 of 2: cargo builds both services. The first time, this takes minutes; cargo tells how far it is.",
    );
    let config = config(args)?;
    tell_step(
        "2 of 2: nats-server and both services start. Where there is no nats-server, it is fetched first.",
    );
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

/// At once, since what others print while they work at the step stands below it.
fn tell_step(step: &str) {
    STDOUT.tell(step);
    STDOUT.flush();
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        up: UpArgs,
    }

    /// The system would choose another one, where nobody looks for it.
    #[test]
    fn no_port_can_be_0_and_the_error_names_the_flag() {
        for flag in ["--order-port", "--inventory-port", "--nats-port", "--monitor-port"] {
            assert!(Command::try_parse_from(["up", flag, "1"]).is_ok());
            let error = Command::try_parse_from(["up", flag, "0"]).unwrap_err().to_string();
            assert!(error.contains(flag), "{error}");
        }
    }
}
