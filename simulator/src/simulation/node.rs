//! One service of the world: its file, and while it runs what it consists of.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use inventory_service::stock::adjustment::NewAdjustment;
use inventory_service::stock::reservation::DecideOrders;
use order_service::orders::placement::NewOrder;
use order_service::orders::settlement::SettleOrders;
use order_service::sweeper::Sweeper;
use shared::broker::Broker;
use shared::broker::link::Link;
use shared::broker::ownership::Ownership;
use shared::clock::pause;
use shared::delivery::consumer::Consumer;
use shared::delivery::dead_letter::redrive::DeadLetters;
use shared::delivery::handler::AnyHandler;
use shared::delivery::relay::Relay;
use shared::storage::Database;
use shared::storage::commit_queue::{CommitQueue, commit_queue};
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

use super::executor::Task;
use super::model::{Model, Seat};
use super::mutants::Mutant;
use super::timeline::Side;

/// Small enough to be full now and then.
const QUEUE_SIZE: usize = 6;

/// One service.
pub struct Node {
    pub side: Side,
    pub file: PathBuf,
    /// What its clock is ahead of the true time.
    pub offset_ms: i64,
    pub running: Option<Running>,
    /// How often it has died or ended.
    pub deaths: u64,
    /// The file stays open over a crash, unless it is opened again: that takes longer than all else.
    open: Option<Database>,
}

/// What a service consists of while it runs.
pub struct Running {
    pub database: Database,
    pub broker: Broker,
    pub dead_letters: DeadLetters,
    /// Where requests wait for their commit: orders at the one service, changes of the stock at the other. None once it
    /// is told to end.
    pub orders: Option<CommitQueue<NewOrder>>,
    pub adjustments: Option<CommitQueue<NewAdjustment>>,
    /// Nothing new is begun from now on.
    pub shutdown: CancellationToken,
    /// Nothing is enqueued any more.
    pub last_call: CancellationToken,
}

pub fn migrations(side: Side) -> &'static Migrator {
    match side {
        Side::Order => &order_service::migrations::MIGRATIONS,
        Side::Inventory => &inventory_service::migrations::MIGRATIONS,
    }
}

impl Node {
    /// A service with a copy of `template`, which is its database without any row.
    pub fn new(side: Side, folder: &Path, template: &Path) -> Result<Self> {
        let file = folder.join(format!("{side}.db"));
        fs::copy(template, &file).with_context(|| format!("copy {}", template.display()))?;
        Ok(Self { side, file, offset_ms: 0, running: None, deaths: 0, open: None })
    }

    /// Starts it, and returns its tasks.
    pub async fn start(&mut self, model: &Arc<Model>) -> Result<Vec<Task>> {
        let (side, database) = (self.side, self.database().await?);
        let ownership = Ownership::establish(database.clone(), side.consumer(), side.subject()).await?;
        let link = Arc::<Link>::default();
        let seat = Seat { model: model.clone(), side };
        let broker = Broker::over(Arc::new(seat), link.clone(), ownership);
        let handler: Arc<dyn AnyHandler> = match side {
            Side::Order => Arc::new(SettleOrders),
            Side::Inventory => Arc::new(DecideOrders),
        };
        let dead_letters = DeadLetters::new(database.clone(), broker.clone(), handler.clone());
        let (shutdown, last_call) = Default::default();
        let (orders, adjustments) = (None, None);
        let mut running =
            Running { database, broker, dead_letters, orders, adjustments, shutdown, last_call };
        let mut tasks = running.tasks(side, handler);
        let left_out = match model.mutant {
            Some(Mutant::NoSweeper) => "sweeper",
            Some(Mutant::NoProbe) => "probe",
            _ => "",
        };
        tasks.retain(|task| task.name != left_out);
        self.running = Some(running);
        model.attach(side, link);
        Ok(tasks)
    }

    async fn database(&mut self) -> Result<Database> {
        if let Some(open) = self.open.take() {
            if open.is_writable() {
                return Ok(self.open.insert(open).clone());
            }
            // Another process would not know of it.
            open.close().await;
        }
        let opened = Database::open(&self.file, migrations(self.side)).await?;
        Ok(self.open.insert(opened).clone())
    }

    /// It is no more. Whatever was under way in it must be gone already.
    pub async fn die(&mut self, model: &Model, closes_file: bool) {
        model.detach(self.side);
        self.deaths += u64::from(self.running.take().is_some());
        if closes_file && let Some(database) = self.open.take() {
            database.close().await;
        }
    }
}

impl Running {
    fn tasks(&mut self, side: Side, handler: Arc<dyn AnyHandler>) -> Vec<Task> {
        let Self { database, broker, shutdown, last_call, .. } = &*self;
        let relay = Relay::new(database.clone(), broker.clone());
        let consumer = Consumer::new(database.clone(), broker.clone(), handler);
        let (watching, consuming, sending) = (last_call.clone(), shutdown.clone(), last_call.clone());
        let (watched, probed, probing) = (broker.clone(), database.clone(), shutdown.clone());
        let mut tasks = vec![
            Task::new("watch", side, async move { watched.watch(watching).await }),
            Task::new("relay", side, relay.run(sending)),
            Task::new("consumer", side, async move { consumer.run(consuming).await }),
            Task::new("probe", side, probe(probed, probing)),
        ];
        match side {
            Side::Order => {
                let sweeper = Sweeper::new(database.clone(), broker.clone());
                tasks.push(Task::new("sweeper", side, sweeper.run(shutdown.clone())));
                let (orders, work) = commit_queue(QUEUE_SIZE, database.clone());
                tasks.push(Task::new("queue", side, work));
                self.orders = Some(orders);
            }
            Side::Inventory => {
                let (adjustments, work) = commit_queue(QUEUE_SIZE, database.clone());
                tasks.push(Task::new("queue", side, work));
                self.adjustments = Some(adjustments);
            }
        }
        tasks
    }

    /// Tells it to end: it takes no more requests, and ends what is under way.
    pub fn stop(&mut self) {
        (self.orders, self.adjustments) = (None, None);
        self.shutdown.cancel();
    }
}

/// What the watch over the database does while it cannot be written.
async fn probe(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if !database.is_writable() {
            let _ = database.probe().await;
        }
        pause(Duration::from_secs(1), &shutdown).await;
    }
}
