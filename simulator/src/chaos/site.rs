//! Where faults happen: a topology of processes whose links to the broker are proxies, or the containers of compose.
//!
//! A fault has a begin and an end; after the end everything runs, is ready, and is connected without hindrance.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use processes::proxy::{Direction, Link, Proxy};
use sqlx::SqliteConnection;

use super::containers::Containers;
use super::fault::{Fault, Kind, SLOW_LATENCY};
use super::surroundings;
use crate::topology::{Links, Part, Topology, TopologyConfig};

/// What faults are done to.
pub enum Site {
    Own(Box<OwnSite>),
    Compose(Containers),
}

/// A topology, and the proxy between each service and the broker.
pub struct OwnSite {
    topology: Topology,
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

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Stops both services, which drain, and then the broker.
    pub async fn stop(&mut self) -> Result<()> {
        self.topology.stop().await
    }

    async fn begin(&mut self, fault: &Fault) -> Result<()> {
        match fault.kind {
            Kind::Kill => {
                for part in &fault.targets {
                    self.topology.kill(*part).await?;
                }
            }
            Kind::Restart => {
                for part in &fault.targets {
                    self.topology.stop_part(*part).await?;
                }
            }
            Kind::Pause => fault.targets.iter().try_for_each(|part| self.topology.pause(*part))?,
            Kind::Wipe => self.topology.wipe_broker().await?,
            Kind::Cut => self.set(fault, Link::Cut),
            Kind::StallToBroker => self.set(fault, Link::Stall(Direction::ToBroker)),
            Kind::StallFromBroker => self.set(fault, Link::Stall(Direction::FromBroker)),
            Kind::Slow => self.set(fault, Link::Slow { latency: SLOW_LATENCY, jitter: SLOW_LATENCY }),
            Kind::Reset => self.links(fault).for_each(Proxy::reset),
            kind if kind.is_of_surroundings() => {
                for part in &fault.targets {
                    self.begin_at(kind, *part).await?;
                }
            }
            // Messages are sent past the links.
            _ => {}
        }
        Ok(())
    }

    /// What is done to one service's surroundings.
    async fn begin_at(&mut self, kind: Kind, part: Part) -> Result<()> {
        let topology = &mut self.topology;
        match kind {
            Kind::LogGone => surroundings::lose_log(topology, part).await,
            Kind::MoveDatabase => surroundings::move_database(topology, part).await,
            Kind::Clock => surroundings::set_clock_ahead(topology, part).await,
            Kind::Lock => {
                self.locks.push(surroundings::lock(topology, part).await?);
                Ok(())
            }
            _ => {
                self.panics += 1;
                surroundings::panic_a_task(topology, part, self.panics).await
            }
        }
    }

    async fn end(&mut self, fault: &Fault) -> Result<()> {
        match fault.kind {
            Kind::Kill | Kind::Restart | Kind::Panic => {
                for part in Part::IN_START_ORDER.into_iter().filter(|part| fault.targets.contains(part)) {
                    self.topology.start_part(part).await?;
                }
            }
            Kind::Pause => fault.targets.iter().try_for_each(|part| self.topology.resume(*part))?,
            Kind::Wipe => self.topology.start_part(Part::Broker).await?,
            Kind::Lock => {
                for connection in self.locks.drain(..) {
                    surroundings::unlock(connection).await?;
                }
            }
            Kind::LogGone => {
                for part in &fault.targets {
                    surroundings::restart(&mut self.topology, *part).await?;
                }
            }
            Kind::MoveDatabase => {
                for part in &fault.targets {
                    surroundings::bring_database_back(&mut self.topology, *part).await?;
                }
            }
            Kind::Clock => {
                for part in &fault.targets {
                    surroundings::put_clock_right(&mut self.topology, *part).await?;
                }
            }
            _ => self.set(fault, Link::Pass),
        }
        Ok(())
    }

    fn set(&self, fault: &Fault, link: Link) {
        self.links(fault).for_each(|proxy| proxy.set(link));
    }

    fn links(&self, fault: &Fault) -> impl Iterator<Item = &Proxy> {
        [(Part::Order, &self.order), (Part::Inventory, &self.inventory)]
            .into_iter()
            .filter(|(part, _)| fault.targets.contains(part))
            .map(|(_, proxy)| proxy)
    }
}

impl Site {
    /// Fails by name on the first fault that cannot be done here. Called before anything starts.
    pub fn check(compose: bool, faults: &[Fault]) -> Result<()> {
        let possible = |kind| !compose || matches!(kind, Kind::Kill | Kind::Restart | Kind::Pause);
        match faults.iter().find(|fault| !possible(fault.kind)) {
            Some(fault) => bail!(
                "{} cannot be done to the containers of docker compose; kill, restart and pause can",
                fault.kind.word()
            ),
            None => Ok(()),
        }
    }

    pub async fn begin(&mut self, fault: &Fault) -> Result<()> {
        match self {
            Self::Own(site) => site.begin(fault).await,
            Self::Compose(site) => site.begin(fault).await,
        }
    }

    /// Mends it, and waits until what was down is ready again.
    pub async fn end(&mut self, fault: &Fault) -> Result<()> {
        match self {
            Self::Own(site) => site.end(fault).await,
            Self::Compose(site) => site.end(fault).await,
        }
    }
}
