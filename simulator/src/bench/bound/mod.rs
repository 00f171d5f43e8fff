//! The bound: what any two services could reach that move the same bytes through the same libraries.
//!
//! Two processes take the places of the services, beside the broker of a topology, on the stream and the consumers that
//! the services have just created there. For each order
//!
//! 1. one process commits a row as long as ours, in one transaction with whatever else waits, and publishes `order_created`,
//! 2. the other one takes whatever has arrived, commits a row for each, publishes `order_processed`, and acknowledges,
//! 3. the first one commits a row for the answer, and acknowledges; from then on the order counts as settled.
//!
//! Everything through sqlx and async-nats, with the settings of the services' databases (an fsync for each commit), bodies and
//! headers as they send them, PubAcks awaited, and each message acknowledged by itself. Each process has one thread beside that
//! of its database. The clients are numbers in the first one: their next orders are due when the last ones are committed.
//!
//! Or they are clients over HTTP ([`Clients::OverHttp`]), as those of a load: then each order is a request too, read and answered
//! with as many bytes as by the service, through the same library.
//!
//! Left out is all that makes it a service: JSON Web Tokens, validation, idempotency keys; the outbox (events are sent from
//! memory, and lost with it); inbox look-ups and stock (a repeat would count twice); every index, and with it every way to
//! find an order; changes of a row (an answer is one more row); logs and metrics. Nor does anybody watch the events, as the
//! loads do to see orders settled.

mod arguments;
mod arrivals;
mod child;
mod clients;
mod events;
mod front;
mod half;
mod inventory;
mod order;
mod parts;
mod protocol;
mod rows;
mod sending;

use std::time::Duration;

use anyhow::{Result, bail};
use processes::Port;
use tokio::time::timeout;

pub use self::arguments::BoundArgs;
use self::arguments::Half;
pub use self::child::run;
use self::half::HalfProcess;
use self::protocol::Told;
use super::figures::Measured;
use super::ground::Ground;
use super::scenario::saturating;
use crate::binaries::Binaries;
use crate::load::plan::Limit;
use crate::load::{CpuMeter, micros_each};
use crate::topology::{Part, Topology};

/// Beyond its duration a run may take so long; an order may be lost for ever where nothing sends it again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where orders come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    /// They are a number in the half that orders.
    Inside,
    /// They are clients in this process.
    OverHttp,
}

/// Measures both halves at work for so many clients.
pub(super) async fn measure(
    binaries: &Binaries,
    clients: Clients,
    connections: u32,
    duration: Duration,
) -> Result<Measured> {
    let mut ground = without_services(binaries).await?;
    let figures = at_work(&ground.topology, clients, connections, duration).await?;
    ground.topology.stop().await?;
    Ok(figures)
}

/// Measures the parts of the way of an order that is alone.
pub(super) async fn measure_parts(binaries: &Binaries) -> Result<Measured> {
    let mut ground = without_services(binaries).await?;
    let figures = parts::measure(&ground.topology).await?;
    ground.topology.stop().await?;
    Ok(figures)
}

/// A broker with the stream and the consumers that the services have created.
async fn without_services(binaries: &Binaries) -> Result<Ground> {
    let mut ground = Ground::fresh(binaries, saturating(Limit::Count(1))).await?;
    ground.topology.stop_part(Part::Order).await?;
    ground.topology.stop_part(Part::Inventory).await?;
    Ok(ground)
}

async fn at_work(
    topology: &Topology,
    clients: Clients,
    connections: u32,
    duration: Duration,
) -> Result<Measured> {
    let listen = match clients {
        Clients::Inside => None,
        Clients::OverHttp => Some(Port::claim()?),
    };
    let mut inventory = HalfProcess::start(topology, Half::Inventory, connections, duration, None).await?;
    let mut order = HalfProcess::start(topology, Half::Order, connections, duration, listen.as_ref()).await?;
    let pids = [order.pid(), inventory.pid(), topology.pid(Part::Broker), Some(std::process::id())];
    let meter = CpuMeter::of(pids);
    order.go().await?;
    let told = async {
        if let Some(port) = &listen {
            clients::place(port.number(), connections, duration).await?;
        }
        timeout(duration + PATIENCE, order.told()).await?
    };
    let Told { settled, seconds } = tokio::select! {
        told = told => told?,
        status = inventory.ended() => bail!("the half that answers ended: {}", status?),
    };
    let mut figures = vec![("rate", settled as f64 / seconds.max(f64::EPSILON))];
    figures.extend(micros_each(&meter.used(), settled));
    order.end().await?;
    inventory.end().await?;
    Ok(figures)
}
