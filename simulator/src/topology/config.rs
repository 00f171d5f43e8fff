//! What a topology runs: its parts, their ports, folder and settings.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use processes::{Logs, Port, broker};
use serde_json::Value;
use tokio::process::Command;

use crate::binaries::Binaries;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Order,
    Inventory,
    Broker,
}

impl Part {
    /// The broker is started first, so that the services find it.
    pub const IN_START_ORDER: [Self; 3] = [Self::Broker, Self::Order, Self::Inventory];

    /// Its name in logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "nats",
            Self::Order => "order",
            Self::Inventory => "inventory",
        }
    }
}

#[derive(Debug)]
pub struct Ports {
    pub order: Port,
    pub inventory: Port,
    pub nats: Port,
    pub monitor: Port,
}

impl Ports {
    /// Free ones, claimed for as long as the value lives.
    pub fn free() -> Result<Self> {
        let claim = Port::claim;
        Ok(Self { order: claim()?, inventory: claim()?, nats: claim()?, monitor: claim()? })
    }
}

/// Where each service finds the broker, if not at the broker's own port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links {
    pub order: Option<u16>,
    pub inventory: Option<u16>,
}

#[derive(Debug)]
pub struct TopologyConfig {
    /// Holds `order.db`, `inventory.db` and `nats/`; is created.
    pub folder: PathBuf,
    pub binaries: Binaries,
    pub ports: Ports,
    pub links: Links,
    /// Stock to begin with; `None`: the inventory's built-in one.
    pub seed_file: Option<PathBuf>,
    pub logs: Logs,
    pub jwt_secret: String,
    /// Further settings for both services, as variables.
    pub environment: Vec<(String, String)>,
    /// A program and its arguments in front of the broker's command, which it must become; empty: none.
    pub broker_launcher: Vec<OsString>,
}

impl TopologyConfig {
    /// Free ports, logs into `folder`, the demo's secret and stock.
    pub fn in_folder(folder: PathBuf, binaries: Binaries) -> Result<Self> {
        Ok(Self {
            logs: Logs::Folder(folder.clone()),
            folder,
            binaries,
            ports: Ports::free()?,
            links: Links::default(),
            seed_file: None,
            jwt_secret: shared::settings::DEMO_SECRET.to_owned(),
            environment: Vec::new(),
            broker_launcher: Vec::new(),
        })
    }

    /// The same with this stock to begin with: a list of products, as a seed file has it.
    pub fn with_stock(mut self, stock: &Value) -> Result<Self> {
        let path = self.folder.join("seed.json");
        fs::write(&path, stock.to_string()).context("cannot write the stock")?;
        self.seed_file = Some(path);
        Ok(self)
    }

    pub fn url(&self, part: Part) -> String {
        match part {
            Part::Broker => format!("nats://127.0.0.1:{}", self.ports.nats.number()),
            Part::Order => format!("http://127.0.0.1:{}", self.ports.order.number()),
            Part::Inventory => format!("http://127.0.0.1:{}", self.ports.inventory.number()),
        }
    }

    pub fn database(&self, part: Part) -> PathBuf {
        self.folder.join(format!("{}.db", part.name()))
    }

    /// The command that runs a part; `server` is the path of nats-server.
    pub(super) fn command(&self, part: Part, server: &Path) -> Command {
        match part {
            Part::Broker => {
                let monitor = i32::from(self.ports.monitor.number());
                let folder = self.folder.join("nats");
                let command = broker::command(server, &folder, self.ports.nats.number(), monitor);
                launched(&self.broker_launcher, command)
            }
            Part::Order => self.service(part, &self.binaries.order, &self.ports.order, self.links.order),
            Part::Inventory => {
                self.service(part, &self.binaries.inventory, &self.ports.inventory, self.links.inventory)
            }
        }
    }

    /// Every setting that decides where a service works is given, so no variable of the caller can divert it.
    fn service(&self, part: Part, binary: &Path, port: &Port, link: Option<u16>) -> Command {
        let name = part.name();
        let broker_port = link.unwrap_or(self.ports.nats.number());
        let mut command = Command::new(binary);
        command.env("HOST", "127.0.0.1").env("PORT", port.number().to_string());
        command.env("DATABASE", self.database(part));
        command.env("NATS_URL", format!("nats://127.0.0.1:{broker_port}")).env("NATS_USER", name);
        command.env("NATS_PASSWORD", broker::password(name)).env("JWT_SECRET", &self.jwt_secret);
        if !self.logs.reach_a_terminal() {
            command.env("NO_COLOR", "1");
        }
        if let Some(file) = &self.seed_file {
            command.env("SEED_FILE", file);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn log_hint(&self, part: Part) -> String {
        match &self.logs {
            Logs::Prefixed => "its log is above".to_owned(),
            Logs::Gone => "nobody reads its log".to_owned(),
            Logs::Folder(folder) => {
                let log = fs::read_to_string(folder.join(format!("{}.log", part.name()))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                format!("the end of its log:\n{}", lines[lines.len().saturating_sub(10)..].join("\n"))
            }
        }
    }
}

fn launched(launcher: &[OsString], command: Command) -> Command {
    let [program, arguments @ ..] = launcher else { return command };
    let inner = command.as_std();
    let mut outer = Command::new(program);
    outer.args(arguments).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}
