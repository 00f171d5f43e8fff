//! Faults on the containers of the running `docker compose` topology.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use processes::{broker, poll};

use super::fault::{Fault, Kind};
use crate::compose;
use crate::compose::docker;
use crate::http;
use crate::topology::Part;

pub const POSSIBLE: [Kind; 3] = [Kind::Kill, Kind::Restart, Kind::Pause];

/// How long a started container may take to be ready.
const DEADLINE: Duration = Duration::from_secs(60);

/// The container of each part in its start order, with the `IP:PORT` where it can be reached.
pub struct Containers(Vec<(Part, String, String)>);

impl Containers {
    pub async fn find() -> Result<Self> {
        let mut found = Vec::new();
        for part in Part::IN_START_ORDER {
            found.push((part, compose::container(part).await?, compose::address(part).await?));
        }
        Ok(Self(found))
    }

    pub fn address(&self, wanted: Part) -> &str {
        self.0.iter().find(|(part, ..)| *part == wanted).map_or("", |(.., address)| address)
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
            wait_until_ready(*part, self.address(*part)).await?;
        }
        Ok(())
    }

    /// One `docker` command on all targets.
    async fn act(&self, word: &str, fault: &Fault) -> Result<()> {
        let hit = self.0.iter().filter(|(part, ..)| fault.targets.contains(part));
        let arguments: Vec<&str> = std::iter::once(word).chain(hit.map(|(_, id, _)| id.as_str())).collect();
        docker(&arguments).await.map(drop)
    }
}

async fn wait_until_ready(part: Part, address: &str) -> Result<()> {
    if part == Part::Broker {
        let port = address.rsplit(':').next().unwrap_or_default();
        return broker::wait_until_ready(port.parse().context("the broker's port is no number")?).await;
    }
    let url = format!("http://{address}");
    let is_ready = async || http::get(&url, "/readyz").await.ok()?.status.is_success().then_some(());
    let ready = poll(DEADLINE, Duration::from_millis(20), is_ready).await;
    ready.with_context(|| format!("{url} was not ready within {} s", DEADLINE.as_secs()))
}
