//! How long both services take to start with all that they have stored.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use processes::poll;

use crate::bench::figures::Measured;
use crate::bench::ground::Ground;
use crate::http;
use crate::load;
use crate::load::plan::LoadPlan;
use crate::topology::{Part, Topology};

/// How long a service may take until it is ready.
const START: Duration = Duration::from_secs(300);
/// How exactly it is measured.
const EVERY: Duration = Duration::from_millis(2);

/// Starts the stopped topology, and orders once.
pub async fn measure(Ground { topology, load, .. }: &mut Ground) -> Result<Measured> {
    topology.start_part(Part::Broker).await?;
    let started = Instant::now();
    topology.spawn_part(Part::Order, &[], None)?;
    topology.spawn_part(Part::Inventory, &[], None)?;
    let milliseconds = || started.elapsed().as_secs_f64() * 1e3;
    // Another seed: under the key of the first order it would be that order.
    let load = load.with_plan(LoadPlan { seed: load.plan.seed + 1, ..(*load.plan).clone() });
    let order = async {
        ready(topology, Part::Order).await?;
        let ready = milliseconds();
        load::warm_up(&load).await?;
        anyhow::Ok((ready, milliseconds()))
    };
    let inventory = async { ready(topology, Part::Inventory).await.map(|()| milliseconds()) };
    let ((order_ready, settled), inventory_ready) = tokio::try_join!(order, inventory)?;
    Ok(vec![
        ("order_ready_ms", order_ready),
        ("inventory_ready_ms", inventory_ready),
        ("settled_ms", settled),
    ])
}

async fn ready(topology: &Topology, part: Part) -> Result<()> {
    let url = topology.config.url(part);
    let asked = poll(START, EVERY, async || {
        let answer = http::get(&url, "/readyz").await.ok()?;
        answer.status.is_success().then_some(())
    });
    asked.await.with_context(|| format!("{} was not ready in time", part.name()))
}
