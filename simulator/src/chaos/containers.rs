//! Faults on the containers of the running `docker compose` topology.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use processes::{broker, poll};

use super::fault::{Fault, Kind};
use crate::compose;
use crate::compose::docker;
use crate::http;
use crate::topology::Part;

/// How long a started container may take to be ready.
const DEADLINE: Duration = Duration::from_secs(60);

/// Each part's container, and where it can be reached.
pub struct Containers([(Part, String, String); 3]);

impl Containers {
    pub async fn find() -> Result<Self> {
        let find =
            async |part| anyhow::Ok((part, compose::container(part).await?, compose::address(part).await?));
        let [broker, order, inventory] = Part::IN_START_ORDER;
        Ok(Self([find(broker).await?, find(order).await?, find(inventory).await?]))
    }

    /// `IP:PORT`
    pub fn address(&self, part: Part) -> &str {
        let [broker, order, inventory] = &self.0;
        match part {
            Part::Broker => &broker.2,
            Part::Order => &order.2,
            Part::Inventory => &inventory.2,
        }
    }

    pub(super) async fn begin(&self, fault: &Fault) -> Result<()> {
        match fault.kind {
            Kind::Kill => {
                self.act("kill", fault).await?;
                // Until the processes are gone a start would do nothing.
                self.act("wait", fault).await
            }
            Kind::Restart => self.act("stop", fault).await,
            Kind::Pause => self.act("pause", fault).await,
            other => bail!("{} cannot be done to a container", other.word()),
        }
    }

    pub(super) async fn end(&self, fault: &Fault) -> Result<()> {
        self.act(if fault.kind == Kind::Pause { "unpause" } else { "start" }, fault).await?;
        for part in &fault.targets {
            self.wait_until_ready(*part).await?;
        }
        Ok(())
    }

    /// One `docker` command on all targets.
    async fn act(&self, word: &str, fault: &Fault) -> Result<()> {
        let hit = self.0.iter().filter(|(part, ..)| fault.targets.contains(part));
        let arguments: Vec<&str> = std::iter::once(word).chain(hit.map(|(_, id, _)| id.as_str())).collect();
        docker(&arguments).await.map(drop)
    }

    async fn wait_until_ready(&self, part: Part) -> Result<()> {
        let address = self.address(part);
        if part == Part::Broker {
            let port = address.rsplit(':').next().unwrap_or_default();
            return broker::wait_until_ready(port.parse().context("the broker's port is no number")?).await;
        }
        let url = format!("http://{address}");
        let is_ready = async || http::get(&url, "/readyz").await.ok()?.status.is_success().then_some(());
        let ready = poll(DEADLINE, Duration::from_millis(20), is_ready).await;
        ready.with_context(|| format!("{url} was not ready within {} s", DEADLINE.as_secs()))
    }
}
