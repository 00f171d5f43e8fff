//! Where faults happen: processes whose links to the broker are proxies, or the containers of compose.
//!
//! A fault has a begin and an end. After the end everything runs again; connections come back by themselves.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use processes::proxy::{Direction, Link, Proxy};
use processes::token;
use rustix::process::Signal;
use shared::settings::DEMO_SECRET;
use sqlx::SqliteConnection;

use super::containers::Containers;
use super::fault::{Fault, Kind, SLOW_LATENCY};
use super::surroundings;
use super::traffic::Endpoints;
use crate::answers::Coverage;
use crate::topology::{Links, Part, Topology, TopologyConfig};

pub enum Site {
    Own(Box<OwnSite>),
    Compose(Containers),
}

/// A topology, and the proxy between each service and the broker.
pub struct OwnSite {
    pub topology: Topology,
    order: Proxy,
    inventory: Proxy,
    /// Connections that hold a write lock.
    locks: Vec<SqliteConnection>,
    /// Tasks that were made to panic.
    panics: usize,
}

impl OwnSite {
    pub async fn start(mut config: TopologyConfig) -> Result<Self> {
        let broker = (Ipv4Addr::LOCALHOST, config.ports.nats.number()).into();
        let (order, inventory) = (Proxy::start(broker)?, Proxy::start(broker)?);
        config.links = Links { order: Some(order.port()), inventory: Some(inventory.port()) };
        Ok(Self { topology: Topology::start(config).await?, order, inventory, locks: Vec::new(), panics: 0 })
    }

    async fn begin(&mut self, kind: Kind, part: Part) -> Result<()> {
        let topology = &mut self.topology;
        match kind {
            Kind::Kill => topology.kill(part).await?,
            Kind::Restart => topology.stop_part(part).await?,
            Kind::Pause => topology.signal(part, Signal::STOP)?,
            Kind::Cut => self.link(part).set(Link::Cut),
            Kind::StallToBroker => self.link(part).set(Link::Stall(Direction::ToBroker)),
            Kind::StallFromBroker => self.link(part).set(Link::Stall(Direction::FromBroker)),
            Kind::Slow => self.link(part).set(Link::Slow { latency: SLOW_LATENCY, jitter: SLOW_LATENCY }),
            Kind::Reset => self.link(part).reset(),
            Kind::LogGone => surroundings::lose_log(topology, part).await?,
            Kind::MoveDatabase => surroundings::move_database(topology, part).await?,
            Kind::Clock => surroundings::set_clock_ahead(topology, part).await?,
            Kind::Lock => self.locks.push(surroundings::lock(topology, part).await?),
            Kind::Panic => {
                self.panics += 1;
                surroundings::panic_a_task(topology, part, self.panics).await?;
            }
            // These have no target.
            Kind::Wipe | Kind::Duplicate | Kind::Poison | Kind::Malformed | Kind::Attack => {}
        }
        Ok(())
    }

    async fn end(&mut self, kind: Kind, part: Part) -> Result<()> {
        let topology = &mut self.topology;
        match kind {
            Kind::Kill | Kind::Restart | Kind::Panic => topology.start_part(part).await,
            Kind::Pause => topology.signal(part, Signal::CONT),
            Kind::Lock => surroundings::unlock(self.locks.pop().context("nothing was locked")?).await,
            Kind::LogGone => surroundings::restart(topology, part).await,
            Kind::MoveDatabase => surroundings::bring_database_back(topology, part).await,
            Kind::Clock => surroundings::put_clock_right(topology, part).await,
            _ => {
                self.link(part).set(Link::Pass);
                Ok(())
            }
        }
    }

    fn link(&self, service: Part) -> &Proxy {
        if service == Part::Order { &self.order } else { &self.inventory }
    }
}

impl Site {
    pub fn endpoints(&self) -> Endpoints {
        match self {
            Self::Own(site) => Endpoints {
                order: site.topology.order_url(),
                inventory: site.topology.inventory_url(),
                nats: site.topology.nats_url(),
                secret: DEMO_SECRET.to_owned(),
                coverage: Coverage::Complete,
            },
            Self::Compose(containers) => Endpoints {
                order: format!("http://{}", containers.address(Part::Order)),
                inventory: format!("http://{}", containers.address(Part::Inventory)),
                nats: format!("nats://{}", containers.address(Part::Broker)),
                secret: token::secret(),
                coverage: Coverage::Partial,
            },
        }
    }

    pub async fn begin(&mut self, fault: &Fault) -> Result<()> {
        match self {
            Self::Compose(containers) => containers.begin(fault).await,
            Self::Own(site) if fault.kind == Kind::Wipe => site.topology.wipe_broker().await,
            Self::Own(site) => {
                for part in &fault.targets {
                    site.begin(fault.kind, *part).await?;
                }
                Ok(())
            }
        }
    }

    /// Mends it, and waits until a process that was down is ready again.
    pub async fn end(&mut self, fault: &Fault) -> Result<()> {
        match self {
            Self::Compose(containers) => containers.end(fault).await,
            Self::Own(site) if fault.kind == Kind::Wipe => site.topology.start_part(Part::Broker).await,
            Self::Own(site) => {
                for part in Part::IN_START_ORDER.into_iter().filter(|part| fault.targets.contains(part)) {
                    site.end(fault.kind, part).await?;
                }
                Ok(())
            }
        }
    }
}
