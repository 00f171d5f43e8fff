//! What a topology runs: its parts, their ports, folder and settings.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use crate::binaries::Binaries;
use processes::Logs;
use processes::Port;
use processes::broker;

/// One process of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// nats-server
    Broker,
    /// order-service
    Order,
    /// inventory-service
    Inventory,
}

impl Part {
    /// Its name in logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "nats",
            Self::Order => "order",
            Self::Inventory => "inventory",
        }
    }
}

/// The four ports of a topology.
#[derive(Debug)]
pub struct Ports {
    /// HTTP of the order service.
    pub order: Port,
    /// HTTP of the inventory service.
    pub inventory: Port,
    /// NATS clients.
    pub nats: Port,
    /// HTTP of the broker's monitoring.
    pub monitor: Port,
}

impl Ports {
    /// Free ones, claimed for as long as the value lives.
    pub fn free() -> Result<Self> {
        Ok(Self {
            order: Port::claim()?,
            inventory: Port::claim()?,
            nats: Port::claim()?,
            monitor: Port::claim()?,
        })
    }
}

/// Where each service finds the broker, if not at the broker's own port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links {
    /// The port that the order service connects to.
    pub order: Option<u16>,
    /// The port that the inventory service connects to.
    pub inventory: Option<u16>,
}

/// What a topology runs, and where.
#[derive(Debug)]
pub struct TopologyConfig {
    /// Holds `order.db`, `inventory.db` and `nats/`; is created.
    pub folder: PathBuf,
    /// The services to run.
    pub binaries: Binaries,
    /// Where they listen.
    pub ports: Ports,
    /// How the services reach the broker.
    pub links: Links,
    /// Stock to begin with; `None`: the inventory's built-in one.
    pub seed_file: Option<PathBuf>,
    /// Where the logs go.
    pub logs: Logs,
    /// Signs the tokens.
    pub jwt_secret: String,
    /// Further settings for both services, as variables.
    pub environment: Vec<(String, String)>,
    /// A program and its arguments to put in front of the broker's command; empty: none. It must become the broker.
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

    /// The URL of a part: `nats://…` or `http://…`.
    pub fn url(&self, part: Part) -> String {
        match part {
            Part::Broker => format!("nats://127.0.0.1:{}", self.ports.nats.number()),
            Part::Order => format!("http://127.0.0.1:{}", self.ports.order.number()),
            Part::Inventory => format!("http://127.0.0.1:{}", self.ports.inventory.number()),
        }
    }

    /// The database file of a service.
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
            Part::Order => self.service(part, &self.binaries.order, &self.ports.order),
            Part::Inventory => self.service(part, &self.binaries.inventory, &self.ports.inventory),
        }
    }

    /// Every setting that decides where a service works is given, so none of the caller's variables can divert it.
    fn service(&self, part: Part, binary: &Path, port: &Port) -> Command {
        let name = part.name();
        let mut command = Command::new(binary);
        command.env("HOST", "127.0.0.1").env("PORT", port.number().to_string());
        command.env("DATABASE", self.database(part));
        command.env("NATS_URL", self.broker_url(part)).env("NATS_USER", name);
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

    /// The broker's URL as this service sees it.
    fn broker_url(&self, part: Part) -> String {
        let link = match part {
            Part::Broker => None,
            Part::Order => self.links.order,
            Part::Inventory => self.links.inventory,
        };
        link.map_or_else(|| self.url(Part::Broker), |port| format!("nats://127.0.0.1:{port}"))
    }

    /// Tells a reader of an error where to look.
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

/// `command` with `launcher` in front of it.
fn launched(launcher: &[OsString], command: Command) -> Command {
    let [program, arguments @ ..] = launcher else { return command };
    let inner = command.as_std();
    let mut outer = Command::new(program);
    outer.args(arguments).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}
