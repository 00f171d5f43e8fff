//! The load under which faults happen: steady, with bursts on top, all of it recorded and watched until it is settled.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::arguments::Plan;
use super::compose::ComposeSite;
use super::messages::SettledOrder;
use crate::answers::{Coverage, Recorder};
use crate::http::HttpClient;
use crate::load::plan::{Limit, LoadPlan, Mix, Pace};
use crate::load::{Load, Target, Watch};
use crate::topology::Topology;
use processes::token;

/// Products of the topology, by the numbers 1 to this one.
pub const PRODUCTS: u32 = 10;

/// The product of which there is little.
pub const SCARCE: u32 = PRODUCTS;

/// Share of the orders that are for products that do not exist.
const UNKNOWN: f64 = 0.02;

/// Users that order in turns.
const USERS: u32 = 5;

/// Quantities are 1 to this number.
const QUANTITY_MAX: u32 = 3;

/// Connections of a burst, at most.
const BURST_CONNECTIONS: usize = 400;

/// How long a request may take. A container that is killed closes no connection, so a caller has to give up by itself; and no
/// fault that is mended within this time makes an outcome unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often an order is asked for until its own service shows it settled.
const LOOKS: usize = 100;

/// Where the services and the broker are.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// `http://…` of the order service.
    pub order: String,
    /// `http://…` of the inventory service.
    pub inventory: String,
    /// `nats://…` of the broker itself, past every proxy.
    pub nats: String,
    secret: String,
    coverage: Coverage,
}

/// What clients were told in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Answered 201.
    pub accepted: u64,
    /// Of them, seen settled.
    pub settled: u64,
    /// Orders whose outcome nobody knows.
    pub unknown: u64,
    /// Orders whose outcome was unknown until their key was repeated.
    pub resolved: u64,
    /// Orders that were refused, and so not stored.
    pub refused: u64,
}

/// The load of one run. Clones share it.
#[derive(Clone)]
pub struct Traffic {
    load: Load,
    target: Target,
    recorder: Recorder,
    stop: CancellationToken,
    sending: Arc<Mutex<JoinSet<Result<()>>>>,
    bursts: Arc<Bursts>,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Bursts {
    sent: AtomicU64,
    under_way: AtomicU64,
}

impl Endpoints {
    /// Those of a topology.
    pub fn of(topology: &Topology) -> Self {
        Self {
            order: topology.order_url(),
            inventory: topology.inventory_url(),
            nats: topology.nats_url(),
            secret: shared::settings::DEMO_SECRET.to_owned(),
            coverage: Coverage::Complete,
        }
    }

    /// The ports that the compose file publishes.
    pub fn of_compose() -> Self {
        Self {
            order: ComposeSite::order_url(),
            inventory: ComposeSite::inventory_url(),
            nats: ComposeSite::nats_url(),
            secret: token::secret(),
            coverage: Coverage::Partial,
        }
    }
}

impl Traffic {
    /// Begins to send; every answer goes to the file `answers`.
    pub async fn start(plan: &Plan, endpoints: &Endpoints, answers: &Path) -> Result<Self> {
        let pace = Pace::Open { rate: plan.rate.into(), connections: plan.connections };
        let load_plan = load_plan(plan.seed, pace, Limit::Count(u64::MAX));
        let mut target = Target::signed(&endpoints.order, &endpoints.secret, &load_plan.mix)?;
        target.inventory_url = Some(endpoints.inventory.clone());
        target.patience = PATIENCE;
        target.probe().await?;
        let recorder = Recorder::create(answers, endpoints.coverage)?;
        let load = Load::new(load_plan, target.clone(), Some(recorder.clone()));
        let watch = load.watch(Some(&endpoints.nats)).await?;
        let (stop, sending) = (CancellationToken::new(), Arc::default());
        let traffic =
            Self { load, target, recorder, stop, sending, bursts: Arc::default(), watch: watch.into() };
        traffic.spawn(traffic.load.clone(), || {});
        Ok(traffic)
    }

    /// How many accepted orders were not seen settled.
    pub fn pending(&self) -> usize {
        usize::try_from(self.load.tally().pending()).unwrap_or(usize::MAX)
    }

    /// Which they are.
    pub fn open(&self) -> HashSet<String> {
        self.load.tally().open()
    }

    /// Removes what is settled by now.
    pub fn keep_open(&self, ids: &mut HashSet<String>) {
        self.load.tally().keep_open(ids);
    }

    /// Whether a burst is still being sent.
    pub fn is_bursting(&self) -> bool {
        self.bursts.under_way.load(Ordering::Relaxed) > 0
    }

    /// Sends so many orders on top of the steady load, most of them at the same time.
    pub fn burst(&self, orders: usize) {
        let number = self.bursts.sent.fetch_add(1, Ordering::Relaxed) + 1;
        self.bursts.under_way.fetch_add(1, Ordering::Relaxed);
        let connections = orders.min(BURST_CONNECTIONS) as u32;
        // A seed of its own: the seed is a part of every key.
        let seed = self.seed().wrapping_add(number << 32);
        let plan = load_plan(seed, Pace::Closed { connections }, Limit::Count(orders as u64));
        let bursts = self.bursts.clone();
        self.spawn(self.load.with_plan(plan), move || {
            bursts.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// An order that its own service shows as settled; `None` before there is one.
    pub async fn settled_order(&self) -> Option<SettledOrder> {
        let (id, user) = self.load.tally().last_settled()?;
        let user = self.target.users.get(user)?;
        for _ in 0..LOOKS {
            match self.look_up(&id, &user.authorization).await {
                Ok(order) if order.status != "created" => return Some(order),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
        None
    }

    /// Stops to send, and waits until the outcome of every order is known or given up.
    pub async fn end_load(&self) -> Result<()> {
        self.stop.cancel();
        let mut sending = std::mem::take(&mut *self.sending.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(sent) = sending.join_next().await {
            sent.context("a load's task failed")??;
        }
        Ok(())
    }

    /// Ends the watch and the file of answers.
    pub fn finish(self) -> Result<Totals> {
        // Nothing may be written behind the file's end.
        drop(self.watch);
        self.recorder.finish()?;
        let tally = self.load.tally();
        Ok(Totals {
            accepted: tally.accepted(),
            settled: tally.settled(),
            unknown: tally.unknown(),
            resolved: tally.resolved(),
            refused: tally.refused(),
        })
    }

    fn seed(&self) -> u64 {
        self.load.plan().seed
    }

    async fn look_up(&self, id: &str, authorization: &str) -> Result<SettledOrder> {
        let mut client = HttpClient::connect(&self.target.order_url).await?;
        let answer = client.get(&format!("/orders/{id}"), Some(authorization)).await?;
        serde_json::from_slice(&answer.body).context("the order is not readable")
    }

    fn spawn(&self, load: Load, ended: impl FnOnce() + Send + 'static) {
        let stop = self.stop.clone();
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.spawn(async move {
            let sent = load.send(&stop).await;
            ended();
            sent
        });
    }
}

fn load_plan(seed: u64, pace: Pace, limit: Limit) -> LoadPlan {
    let mix =
        Mix { products: PRODUCTS, hot: 0.1, unknown: UNKNOWN, users: USERS, quantity_max: QUANTITY_MAX };
    LoadPlan { seed, pace, limit, mix }
}
