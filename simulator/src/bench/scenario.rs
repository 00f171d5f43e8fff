//! A load that is measured: orders as fast as they are answered, or at a share of that.

use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::Measured;
use super::footprint;
use super::ground::Ground;
use crate::binaries::Binaries;
use crate::load;
use crate::load::plan::{Limit, LoadPlan, Mix, Pace};

/// Products that are ordered.
const PRODUCTS: u32 = 10;
const QUANTITY_MAX: u32 = 3;
/// The same orders in each round.
const SEED: u64 = 1;
/// At a rate so many orders wait for their answers at most: more than are ever under way at half of the capacity.
const WAITING_MAX: u32 = 1_000;
/// As many connections as reach the capacity.
pub const CAPACITY: u32 = 64;

/// Where the scenarios stand that ratios are made of.
pub const ALONE: usize = 0;
pub const SATURATED: usize = 2;
pub const QUARTER: usize = 4;
pub const WAITING: usize = 7;

/// One kind of load.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    speed: Speed,
    /// The share of the orders that are for one product, beside its even share.
    hot: f64,
    /// Whether each order is answered only once it is settled, so that its POST takes as long as that.
    waits: bool,
}

#[derive(Debug, Clone, Copy)]
enum Speed {
    /// By so many connections, each as soon as its last order is answered.
    Connections(u32),
    /// At this share of what [`CAPACITY`] connections reached in the same round.
    Share(f64),
}

/// In this order, so that the capacity is known where it is needed.
pub const SCENARIOS: [Scenario; 8] = [
    even("1 connection", Speed::Connections(1)),
    even("16 connections", Speed::Connections(16)),
    even("64 connections", Speed::Connections(CAPACITY)),
    even("256 connections", Speed::Connections(256)),
    even("a quarter of the capacity", Speed::Share(0.25)),
    even("half of the capacity", Speed::Share(0.5)),
    Scenario { hot: 1.0, ..even("64 connections, one product", Speed::Connections(CAPACITY)) },
    Scenario { waits: true, ..even("1 connection, `Prefer: wait`", Speed::Connections(1)) },
];

const fn even(name: &'static str, speed: Speed) -> Scenario {
    Scenario { name, speed, hot: 0.0, waits: false }
}

/// As many connections as reach the capacity, and an even share of the orders for each product.
pub fn saturating(limit: Limit) -> LoadPlan {
    plan(Pace::Closed { connections: CAPACITY }, limit, 0.0)
}

fn plan(pace: Pace, limit: Limit, hot: f64) -> LoadPlan {
    let mix = Mix { products: PRODUCTS, hot, unknown: 0.0, users: 1, quantity_max: QUANTITY_MAX };
    LoadPlan::new(SEED, pace, limit, mix)
}

impl Scenario {
    /// Measures it once, in a fresh folder. `capacity` is what this round settled a second; an order that is not settled
    /// is an error.
    pub async fn measure(
        &self,
        binaries: &Binaries,
        duration: Duration,
        capacity: &mut Option<f64>,
    ) -> Result<Measured> {
        let pace = match self.speed {
            Speed::Connections(connections) => Pace::Closed { connections },
            Speed::Share(share) => {
                let rate = capacity.context("the capacity is not measured yet")? * share;
                Pace::Open { rate, connections: WAITING_MAX }
            }
        };
        let plan = LoadPlan { waits: self.waits, ..plan(pace, Limit::Duration(duration), self.hot) };
        let Ground { topology, load, .. } = &mut Ground::fresh(binaries, plan).await?;
        let summary = load::measure(load, Some(topology)).await?;
        summary.check_settled()?;
        let mut figures = summary.figures();
        figures.extend(footprint::memory(topology));
        topology.stop().await?;
        figures.push(footprint::disk(topology, load.tally.totals().accepted)?);
        if capacity.is_none() && matches!(self.speed, Speed::Connections(CAPACITY)) {
            *capacity = Some(summary.rate());
        }
        Ok(figures)
    }
}
