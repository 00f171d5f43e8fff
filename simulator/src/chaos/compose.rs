//! Faults on the containers of the running `docker compose` topology.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::fault::{Fault, Kind};
use crate::engine::{Action, Container, Engine};
use crate::http::HttpClient;
use crate::topology::Part;
use processes::{broker, workspace};

/// How long a killed container may take to end, and a started one to be ready.
const DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The three containers of one compose project.
pub struct ComposeSite {
    engine: Engine,
    containers: Vec<(Part, String)>,
}

impl ComposeSite {
    /// Finds the running containers of this repository's project, or of `COMPOSE_PROJECT_NAME`.
    pub async fn find() -> Result<Self> {
        let engine = Engine::from_env()?;
        let all = engine.containers().await?;
        let containers = [Part::Broker, Part::Order, Part::Inventory]
            .into_iter()
            .map(|part| Ok((part, find(&all, part)?.id.clone())))
            .collect::<Result<_>>()?;
        Ok(Self { engine, containers })
    }

    /// `http://…` of the order service.
    pub fn order_url() -> String {
        format!("http://127.0.0.1:{}", published(Part::Order))
    }

    /// `http://…` of the inventory service.
    pub fn inventory_url() -> String {
        format!("http://127.0.0.1:{}", published(Part::Inventory))
    }

    /// `nats://…` of the broker.
    pub fn nats_url() -> String {
        format!("nats://127.0.0.1:{}", published(Part::Broker))
    }

    pub(super) async fn begin(&self, fault: &Fault) -> Result<()> {
        let action = match fault.kind {
            Kind::Kill => Action::Kill,
            Kind::Restart => Action::Stop,
            Kind::Pause => Action::Pause,
            other => bail!("{} cannot be done to a container", other.word()),
        };
        for part in &fault.targets {
            let container = self.container(*part)?;
            self.engine.act(container, action).await?;
            if action == Action::Kill {
                self.wait_until_gone(container).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn end(&self, fault: &Fault) -> Result<()> {
        let action = if fault.kind == Kind::Pause { Action::Unpause } else { Action::Start };
        for part in &fault.targets {
            self.engine.act(self.container(*part)?, action).await?;
        }
        for part in &fault.targets {
            wait_until_ready(*part).await?;
        }
        Ok(())
    }

    fn container(&self, part: Part) -> Result<&str> {
        let found = self.containers.iter().find(|(known, _)| *known == part);
        found
            .map(|(_, id)| id.as_str())
            .with_context(|| format!("there is no container of {}", service(part)))
    }

    /// The engine answers when the signal is sent; until the process is gone a start would do nothing.
    async fn wait_until_gone(&self, container: &str) -> Result<()> {
        let start = Instant::now();
        while self.engine.is_running(container).await? {
            if start.elapsed() > DEADLINE {
                bail!("a killed container still runs after {} s", DEADLINE.as_secs());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn find(all: &[Container], part: Part) -> Result<&Container> {
    let project = env::var("COMPOSE_PROJECT_NAME").unwrap_or_default();
    let root = workspace::root();
    let ours = |container: &&Container| match project.as_str() {
        "" => container.working_dir() == root.to_string_lossy(),
        name => container.project() == name,
    };
    let mut found = all.iter().filter(ours).filter(|container| container.service() == service(part));
    let container = found.next().with_context(|| {
        format!("no container of the service {} was found; start it with `docker compose up`", service(part))
    })?;
    if found.next().is_some() {
        bail!("more than one container of the service {} was found; set COMPOSE_PROJECT_NAME", service(part));
    }
    if container.state != "running" {
        bail!("the container of the service {} is {}, and must run", service(part), container.state);
    }
    Ok(container)
}

async fn wait_until_ready(part: Part) -> Result<()> {
    let port = published(part);
    if part == Part::Broker {
        return broker::wait_until_ready(port).await;
    }
    let start = Instant::now();
    while !is_ready(port).await.unwrap_or(false) {
        if start.elapsed() > DEADLINE {
            bail!("{} was not ready within {} s", service(part), DEADLINE.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn is_ready(port: u16) -> Result<bool> {
    let answer = HttpClient::connect(&format!("http://127.0.0.1:{port}")).await?.get("/readyz", None).await?;
    Ok(answer.status.is_success())
}

fn service(part: Part) -> &'static str {
    match part {
        Part::Broker => "nats",
        Part::Order => "order-service",
        Part::Inventory => "inventory-service",
    }
}

/// The port on 127.0.0.1, as `docker-compose.yml` reads it.
fn published(part: Part) -> u16 {
    let (variable, default) = match part {
        Part::Broker => ("NATS_PORT", 4222),
        Part::Order => ("ORDER_PORT", 3000),
        Part::Inventory => ("INVENTORY_PORT", 3001),
    };
    env::var(variable).ok().and_then(|port| port.parse().ok()).unwrap_or(default)
}
