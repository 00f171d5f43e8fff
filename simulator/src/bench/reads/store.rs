//! A topology that holds so many settled orders, started for each round.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench::ground::Ground;
use crate::bench::scenario::saturating;
use crate::binaries::Binaries;
use crate::http::HttpClient;
use crate::load;
use crate::load::User;
use crate::load::plan::Limit;
use crate::topology::Part;

pub struct Store {
    pub ground: Ground,
    pub orders: u64,
    /// Of all orders, the newest first.
    pub ids: Vec<String>,
}

impl Store {
    /// Places the orders through the API, and stops the topology.
    pub async fn fill(binaries: &Binaries, orders: u64) -> Result<Self> {
        let ground = Ground::fresh(binaries, saturating(Limit::Count(orders))).await?;
        load::measure(&ground.load, Some(&ground.topology)).await?.check_settled()?;
        let mut store = Self { ground, orders, ids: Vec::new() };
        store.ids = store.read_ids().await?;
        store.ground.topology.stop().await?;
        Ok(store)
    }

    /// Starts what was stopped, on the same folder and ports.
    pub async fn start(&mut self) -> Result<()> {
        let topology = &mut self.ground.topology;
        for part in Part::IN_START_ORDER {
            topology.start_part(part).await?;
        }
        Ok(())
    }

    /// Whose orders they all are.
    pub fn user(&self) -> Result<&User> {
        self.ground.load.target.users.first().context("the load has no user")
    }

    async fn read_ids(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Listed {
            id: String,
        }
        let mut client = HttpClient::connect(&self.ground.load.target.order_url).await?;
        let (mut ids, mut page) = (Vec::new(), Some("/orders?limit=200".to_owned()));
        while let Some(path) = page {
            let answer = client.get(&path, Some(&self.user()?.authorization)).await?;
            let listed: Vec<Listed> =
                serde_json::from_slice(&answer.body).context("read a page of orders")?;
            ids.extend(listed.into_iter().map(|order| order.id));
            page = answer.next;
        }
        Ok(ids)
    }
}
