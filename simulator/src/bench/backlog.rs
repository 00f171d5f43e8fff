//! A backlog: orders that were placed while the inventory was away, and how fast they are settled once it is back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio_util::sync::CancellationToken;

use super::figures::{Figures, Measured};
use super::ground::Ground;
use super::scenario::saturating;
use super::table::{Column, Table};
use crate::binaries::Binaries;
use crate::load;
use crate::load::plan::Limit;
use crate::load::{CpuMeter, micros_each};
use crate::topology::Part;

const COLUMNS: [Column; 5] = [
    ("rate", "settled/s", 0),
    ("seconds", "seconds", 1),
    ("order_cpu_us", "order µs", 0),
    ("inventory_cpu_us", "inventory µs", 0),
    ("broker_cpu_us", "broker µs", 0),
];

pub async fn table(binaries: &Binaries, orders: u64) -> Result<Table> {
    Ok(Table {
        name: "backlog",
        heading: "A backlog",
        note: "Orders that were placed while the inventory was away. Time and µs count from its start until the last one is settled.",
        columns: &COLUMNS,
        rows: vec![(format!("{orders} orders"), Figures::once(measure(binaries, orders).await?))],
    })
}

async fn measure(binaries: &Binaries, orders: u64) -> Result<Measured> {
    let Ground { topology, load, .. } =
        &mut Ground::fresh(binaries, saturating(Limit::Count(orders))).await?;
    topology.stop_part(Part::Inventory).await?;
    load.send(&CancellationToken::new()).await?;
    let waiting = load.tally.pending() as u64;
    ensure!(waiting == orders, "{waiting} orders wait, and not {orders}");
    // Whoever asked for each of them would be a load, too.
    let news = load.watch_events(&topology.nats_url()).await?;
    let started = Instant::now();
    topology.spawn_part(Part::Inventory, &[], None)?;
    let meter = CpuMeter::start(topology);
    let end = load::wait_for_end(load).await.context("wait for the last order")?;
    ensure!(load.tally.pending() == 0, "{} orders were not settled", load.tally.pending());
    let used = meter.used();
    drop(news);
    topology.stop().await?;
    let seconds = end.saturating_duration_since(started).as_secs_f64();
    let mut measured = vec![("rate", orders as f64 / seconds), ("seconds", seconds)];
    measured.extend(micros_each(&used, orders));
    Ok(measured)
}
