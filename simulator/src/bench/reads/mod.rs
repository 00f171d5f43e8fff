//! Reads, from topologies that hold few orders and many: what a list costs must not depend on what it does not show.

mod getting;
mod store;

use std::time::Duration;

use anyhow::{Context, Result};
use shared::operations::log::STDERR;

use self::getting::Getting;
use self::store::Store;
use super::figures::Figures;
use super::table::{Column, Table};
use crate::binaries::Binaries;
use crate::topology::Part;

const COLUMNS: [Column; 4] =
    [("rate", "requests/s", 0), ("p50_ms", "p50 ms", 2), ("p99_ms", "p99 ms", 2), ("cpu_us", "CPU µs", 0)];

/// One kind of read.
#[derive(Debug, Clone, Copy)]
enum Read {
    FirstPage,
    Order,
    Stock,
}

impl Read {
    const ALL: [Self; 3] = [Self::FirstPage, Self::Order, Self::Stock];

    fn name(self) -> &'static str {
        match self {
            Self::FirstPage => "GET /orders",
            Self::Order => "GET /orders/{id}",
            Self::Stock => "GET /inventory",
        }
    }

    /// What is asked for and where.
    fn getting(self, store: &Store) -> Result<Getting<'_>> {
        let user = store.user()?;
        Ok(match self {
            Self::FirstPage => {
                Getting { part: Part::Order, user: Some(user), paths: vec!["/orders".to_owned()] }
            }
            Self::Order => {
                let paths = store.ids.iter().map(|id| format!("/orders/{id}")).collect();
                Getting { part: Part::Order, user: Some(user), paths }
            }
            Self::Stock => {
                Getting { part: Part::Inventory, user: None, paths: vec!["/inventory".to_owned()] }
            }
        })
    }
}

/// The topologies, and what was measured so far.
pub struct Reads {
    stores: Vec<Store>,
    /// For each store each kind of read.
    figures: Vec<[Figures; Read::ALL.len()]>,
}

impl Reads {
    /// Fills a topology for each number of orders, and stops it.
    pub async fn fill(binaries: &Binaries, orders: &[u64]) -> Result<Self> {
        let mut stores = Vec::new();
        for orders in orders {
            STDERR.tell(&format!("placing {orders} orders to read"));
            stores.push(
                Store::fill(binaries, *orders).await.with_context(|| format!("place {orders} orders"))?,
            );
        }
        Ok(Self { figures: stores.iter().map(|_| Default::default()).collect(), stores })
    }

    /// Starts one topology after the other, and measures every kind of read once.
    pub async fn round(&mut self, duration: Duration) -> Result<()> {
        for (store, figures) in self.stores.iter_mut().zip(&mut self.figures) {
            store.start().await?;
            for (read, figures) in Read::ALL.into_iter().zip(figures) {
                STDERR.tell(&format!("  {} of {} orders", read.name(), store.orders));
                let measured = read.getting(store)?.measure(&store.ground.topology, duration).await;
                figures.add(measured.context(read.name())?);
            }
            store.ground.topology.stop().await?;
        }
        Ok(())
    }

    pub fn table(self) -> Table {
        let named = |(store, figures): (&Store, [Figures; Read::ALL.len()])| {
            let name = |read: Read| format!("{} of {} orders", read.name(), store.orders);
            Read::ALL.map(name).into_iter().zip(figures).collect::<Vec<_>>()
        };
        Table {
            name: "reads",
            heading: "Reads",
            note: "By 16 connections that each ask again when they are answered, all orders being of the one who asks. µs: CPU time \
                   of the service for each request.",
            columns: &COLUMNS,
            rows: self.stores.iter().zip(self.figures).flat_map(named).collect(),
        }
    }
}
