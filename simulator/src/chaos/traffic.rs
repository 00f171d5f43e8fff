//! The load under which faults happen: steady, with bursts on top, all recorded and watched until settled.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use processes::poll;
use shared::contract::status::Status;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::arguments::Plan;
use crate::answers::{Coverage, Recorder};
use crate::http::HttpClient;
use crate::load::plan::{Limit, LoadPlan, Mix, Pace};
use crate::load::{Load, Order, SharedTally, Target, Totals, Watch};

/// Products of the topology, by the numbers 1 to this one.
pub const PRODUCTS: u32 = 10;

/// The product of which there is little.
pub const SCARCE: u32 = PRODUCTS;

const BURST_CONNECTIONS: usize = 400;

/// How long a request may take: a container that is killed closes no connection, so callers have to give up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an order is asked for until its own service shows it settled.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

pub struct Endpoints {
    pub order: String,
    pub inventory: String,
    /// `nats://…` of the broker itself, past every proxy.
    pub nats: String,
    pub secret: String,
    pub coverage: Coverage,
}

pub struct Traffic {
    pub endpoints: Endpoints,
    load: Load,
    recorder: Recorder,
    stop: CancellationToken,
    sending: JoinSet<Result<()>>,
    /// How many bursts were sent, and the latest of them.
    bursts: u64,
    burst: Option<AbortHandle>,
    watch: Watch,
}

impl Traffic {
    /// Begins to send; every answer goes to the file `answers`.
    pub async fn start(plan: &Plan, endpoints: Endpoints, answers: &Path) -> Result<Self> {
        let pace = Pace::Open { rate: plan.rate.into(), connections: plan.connections };
        let load_plan = load_plan(plan.seed, pace, Limit::Count(u64::MAX));
        let mut target = Target::signed(&endpoints.order, &endpoints.secret, &load_plan.mix)?;
        target.inventory_url = Some(endpoints.inventory.clone());
        target.patience = PATIENCE;
        target.probe().await?;
        let recorder = Recorder::create(answers, endpoints.coverage)?;
        let load = Load::new(load_plan, target, Some(recorder.clone()));
        let watch = load.watch(Some(&endpoints.nats)).await?;
        let (stop, sending) = (CancellationToken::new(), JoinSet::new());
        let mut traffic = Self { endpoints, load, recorder, stop, sending, bursts: 0, burst: None, watch };
        traffic.send(traffic.load.clone());
        Ok(traffic)
    }

    pub fn tally(&self) -> &SharedTally {
        &self.load.tally
    }

    pub fn is_bursting(&self) -> bool {
        self.burst.as_ref().is_some_and(|burst| !burst.is_finished())
    }

    /// Sends so many orders on top of the steady load, most of them at the same time.
    pub fn burst(&mut self, orders: usize) {
        self.bursts += 1;
        let connections = orders.min(BURST_CONNECTIONS) as u32;
        // A seed of its own: the seed is a part of every key.
        let seed = self.load.plan.seed.wrapping_add(self.bursts << 32);
        let plan = load_plan(seed, Pace::Closed { connections }, Limit::Count(orders as u64));
        self.burst = Some(self.send(self.load.with_plan(plan)));
    }

    fn send(&mut self, load: Load) -> AbortHandle {
        let stop = self.stop.clone();
        self.sending.spawn(async move { load.send(&stop).await })
    }

    /// An order that its own service shows as settled; `None` before there is one.
    pub async fn settled_order(&self) -> Option<Order> {
        let (id, user) = self.load.tally.last_settled()?;
        let user = self.load.target.users.get(user)?;
        poll(LOOK_WITHIN, Duration::from_millis(50), async || {
            let mut client = HttpClient::connect(&self.endpoints.order).await.ok()?;
            let order = Order::get(&mut client, user, &id).await.ok()??;
            (order.status != Status::Created).then_some(order)
        })
        .await
    }

    /// Stops to send, and waits until the outcome of every order is known or given up.
    pub async fn end_load(&mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(sent) = self.sending.join_next().await {
            sent.context("a load's task failed")??;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Totals> {
        // Nothing may be written behind the file's end.
        drop(self.watch);
        self.recorder.finish()?;
        Ok(self.load.tally.totals())
    }
}

fn load_plan(seed: u64, pace: Pace, limit: Limit) -> LoadPlan {
    let mix = Mix { products: PRODUCTS, hot: 0.1, unknown: 0.02, users: 5, quantity_max: 3 };
    LoadPlan::new(seed, pace, limit, mix)
}
