//! Many orders in one topology, in tenths: nothing may cost more because of what is stored already. Then a restart.

mod restart;
mod tenths;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use self::tenths::Tenths;
use super::figures::Figures;
use super::footprint;
use super::ground::Ground;
use super::scenario::saturating;
use super::table::{Column, Table};
use crate::binaries::Binaries;
use crate::load;
use crate::load::plan::Limit;

/// How often it is looked whether a tenth is complete.
const LOOK: Duration = Duration::from_millis(20);

const COLUMNS: [Column; 8] = [
    ("rate", "settled/s", 0),
    ("order_cpu_us", "order µs", 0),
    ("inventory_cpu_us", "inventory µs", 0),
    ("broker_cpu_us", "broker µs", 0),
    ("order_mb", "order MB", 1),
    ("inventory_mb", "inventory MB", 1),
    ("order_wal_mb", "order WAL MB", 1),
    ("inventory_wal_mb", "inventory WAL MB", 1),
];

const RATIO_COLUMNS: [Column; 6] = [
    ("rate", "settled/s", 2),
    ("order_cpu_us", "order µs", 2),
    ("inventory_cpu_us", "inventory µs", 2),
    ("broker_cpu_us", "broker µs", 2),
    ("order_mb", "order MB", 2),
    ("inventory_mb", "inventory MB", 2),
];

const RESTART_COLUMNS: [Column; 4] = [
    ("order_ready_ms", "order ready ms", 0),
    ("inventory_ready_ms", "inventory ready ms", 0),
    ("settled_ms", "first order settled ms", 0),
    ("disk_bytes", "bytes on disk", 0),
];

pub async fn tables(binaries: &Binaries, orders: u64) -> Result<Vec<Table>> {
    let mut ground = Ground::fresh(binaries, saturating(Limit::Count(orders))).await?;
    let tenths = place(&ground, orders).await?;
    let ratios = tenths.last_to_first();
    ground.topology.stop().await?;
    let disk = footprint::disk(&ground.topology, orders)?;
    let mut restarted = restart::measure(&mut ground).await.context("restart")?;
    restarted.push(disk);
    ground.topology.stop().await?;
    Ok(vec![tenths_table(tenths), ratios_table(ratios), restart_table(orders, Figures::once(restarted))])
}

/// Places all of them, and looks on.
async fn place(Ground { topology, load, .. }: &Ground, orders: u64) -> Result<Tenths> {
    let mut tenths = Tenths::start(topology, orders);
    let settled = || load.tally.totals().settled;
    let mut measuring = std::pin::pin!(load::measure(load, Some(topology)));
    loop {
        tokio::select! {
            summary = &mut measuring => {
                summary?.check_settled()?;
                tenths.look(topology, settled());
                return Ok(tenths);
            }
            () = sleep(LOOK) => tenths.look(topology, settled()),
        }
    }
}

fn tenths_table(tenths: Tenths) -> Table {
    Table {
        name: "growth",
        heading: "Growth",
        note: "One topology with 64 connections, in tenths. MB: in the end of each. WAL: the file beside the database, then.",
        columns: &COLUMNS,
        rows: tenths.into_rows(),
    }
}

fn ratios_table(ratios: Figures) -> Table {
    Table {
        name: "growth_ratios",
        heading: "Growth: the last tenth ÷ the first",
        note: "1 means that nothing depends on how many orders are stored.",
        columns: &RATIO_COLUMNS,
        rows: vec![("last ÷ first".to_owned(), ratios)],
    }
}

fn restart_table(orders: u64, figures: Figures) -> Table {
    Table {
        name: "restart",
        heading: "Restart",
        note: "With all of these orders, the broker being up. From the start of both services until each is ready, and until an order \
               that is placed then is settled. Bytes: of both databases for each order, before.",
        columns: &RESTART_COLUMNS,
        rows: vec![(format!("{orders} orders"), figures)],
    }
}
