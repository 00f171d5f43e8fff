//! The loads, and beside them in each round what they are compared with: the bound, and a system that nobody uses.

use std::time::Duration;

use anyhow::{Context, Result};
use shared::operations::log::STDERR;

use super::bound::Clients;
use super::figures::Figures;
use super::ratios::Compared;
use super::scenario::{ALONE, CAPACITY, QUARTER, SATURATED, SCENARIOS, WAITING};
use super::table::{Column, Table};
use super::{bound, idle, ratios};
use crate::binaries::Binaries;

const COLUMNS: [Column; 11] = [
    ("rate", "settled/s", 0),
    ("post_p50_ms", "POST p50 ms", 2),
    ("post_p99_ms", "POST p99 ms", 2),
    ("decided_p50_ms", "decided p50 ms", 2),
    ("decided_p99_ms", "decided p99 ms", 2),
    ("order_cpu_us", "order µs", 0),
    ("inventory_cpu_us", "inventory µs", 0),
    ("broker_cpu_us", "broker µs", 0),
    ("order_mb", "order MB", 1),
    ("inventory_mb", "inventory MB", 1),
    ("disk_bytes", "bytes on disk", 0),
];

const BOUND_COLUMNS: [Column; 7] = [
    ("rate", "settled/s", 0),
    ("order_cpu_us", "order µs", 0),
    ("inventory_cpu_us", "inventory µs", 0),
    ("broker_cpu_us", "broker µs", 0),
    ("commits_ms", "3 commits ms", 2),
    ("hops_ms", "2 hops ms", 2),
    ("parts_ms", "together ms", 2),
];

const IDLE_COLUMNS: [Column; 3] = [
    ("order_percent", "order %", 2),
    ("inventory_percent", "inventory %", 2),
    ("broker_percent", "broker %", 2),
];

/// What was measured so far.
#[derive(Default)]
pub struct Loads {
    scenarios: [Figures; SCENARIOS.len()],
    bound: Figures,
    over_http: Figures,
    idle: Figures,
}

impl Loads {
    /// Measures everything once, each on a topology of its own.
    pub async fn round(&mut self, binaries: &Binaries, duration: Duration) -> Result<()> {
        // What this round settled as fast as it could; the scenarios at a rate go by it.
        let mut capacity = None;
        for (place, scenario) in SCENARIOS.iter().enumerate() {
            STDERR.tell(&format!("  {}", scenario.name));
            let measured = scenario.measure(binaries, duration, &mut capacity).await;
            self.scenarios[place].add(measured.context(scenario.name)?);
            self.measure_beside(place, binaries, duration).await?;
        }
        STDERR.tell("  idle");
        self.idle.add(idle::measure(binaries, duration).await.context("idle")?);
        Ok(())
    }

    /// What a scenario is compared with comes right after it: the disk may be another one a minute later.
    async fn measure_beside(&mut self, place: usize, binaries: &Binaries, duration: Duration) -> Result<()> {
        let bound =
            async |clients| bound::measure(binaries, clients, CAPACITY, duration).await.context("the bound");
        match place {
            ALONE => {
                self.bound.add(bound::measure_parts(binaries).await.context("the parts of an order's way")?);
            }
            SATURATED => {
                self.bound.add(bound(Clients::Inside).await?);
                self.over_http.add(bound(Clients::OverHttp).await?);
            }
            _ => {}
        }
        Ok(())
    }

    pub fn tables(self) -> Vec<Table> {
        let Self { scenarios, bound, over_http, idle } = self;
        let (waiting, saturated, quarter) = (&scenarios[WAITING], &scenarios[SATURATED], &scenarios[QUARTER]);
        let ratios =
            ratios::table(&Compared { waiting, saturated, quarter, bound: &bound, over_http: &over_http });
        vec![loads_table(scenarios), bound_table(bound, over_http), ratios, idle_table(idle)]
    }
}

fn loads_table(scenarios: [Figures; SCENARIOS.len()]) -> Table {
    let names = SCENARIOS.iter().map(|scenario| scenario.name.to_owned());
    Table {
        name: "loads",
        heading: "Orders",
        note: "POST: until its 201, with `Prefer: wait` until the order is settled. Decided: from the POST until the inventory's decision is on the broker. µs: CPU time of a process \
               for each order. MB: its memory in the end. Bytes: of both databases for each order.",
        columns: &COLUMNS,
        rows: names.zip(scenarios).collect(),
    }
}

fn bound_table(bound: Figures, over_http: Figures) -> Table {
    Table {
        name: "bound",
        heading: "The bound",
        note: "The same bytes through the same libraries with no logic around them, from as many clients in the process itself, \
               and over HTTP; and the three commits and two hops of an order that is alone, each measured by itself.",
        columns: &BOUND_COLUMNS,
        rows: vec![
            (format!("{CAPACITY} clients"), bound),
            (format!("{CAPACITY} clients over HTTP"), over_http),
        ],
    }
}

fn idle_table(idle: Figures) -> Table {
    Table {
        name: "idle",
        heading: "Idle",
        note: "CPU time of each process while nothing is sent, in percent of one core.",
        columns: &IDLE_COLUMNS,
        rows: vec![("nothing is sent".to_owned(), idle)],
    }
}
