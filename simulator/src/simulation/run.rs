//! One schedule from its beginning to the audit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use inventory_service::stock::seed;
use shared::clock::simulated;
use shared::storage::Database;

use super::crash;
use super::crash::Counts;
use super::model::Loss;
use super::model::fault::Fault;
use super::mutants::Mutant;
use super::node::migrations;
use super::schedule::Schedule;
use super::timeline::{Side, Timeline};
use super::world::{Ground, Templates, World};
use crate::check;
use crate::check::{Databases, Moment};

/// When every simulation begins, in Unix milliseconds.
const BEGINS_MS: i64 = 1_763_928_000_000;
/// What is for sale in the beginning.
const PRODUCTS: &str = r#"[{"productId":"0","stock":3},{"productId":"1","stock":20}]"#;

/// What became of one schedule.
pub struct Outcome {
    /// What must not be, and is; empty if all is well.
    pub failures: Vec<String>,
    /// The same for the same schedule.
    pub hash: u64,
    pub lines: Vec<String>,
    pub orders: u64,
    /// From the end of the faults until all was quiet.
    pub healed_in: Option<Duration>,
    pub loss: Loss,
    pub struck: BTreeMap<Fault, u64>,
    pub points: Counts,
}

/// Makes the databases that every schedule begins with.
pub async fn templates(folder: &Path, mutant: Option<Mutant>) -> Result<Templates> {
    let templates =
        Templates { order: folder.join("order.template"), inventory: folder.join("inventory.template") };
    let order = Database::open(&templates.order, migrations(Side::Order)).await?;
    plant(mutant, Side::Order, &order).await?;
    order.close().await;
    let inventory = Database::open(&templates.inventory, migrations(Side::Inventory)).await?;
    let products = folder.join("products.json");
    std::fs::write(&products, PRODUCTS).context("write the products")?;
    seed::apply(&inventory, &seed::read(Some(&products))?).await?;
    plant(mutant, Side::Inventory, &inventory).await?;
    inventory.close().await;
    Ok(templates)
}

async fn plant(mutant: Option<Mutant>, side: Side, database: &Database) -> Result<()> {
    if let Some(trigger) = mutant.and_then(|mutant| mutant.trigger(side)) {
        let mut tx = database.begin().await?;
        sqlx::query(trigger).execute(&mut *tx).await.context("plant a mutant")?;
        tx.commit().await?;
    }
    Ok(())
}

/// Runs the schedule in a folder of its own, and audits what it has left.
pub async fn run(schedule: &Schedule, ground: &Ground<'_>) -> Result<Outcome> {
    let folder = ground.templates.folder_for_one()?;
    let folder = folder.path();
    simulated::begin(schedule.seed, BEGINS_MS);
    crash::begin();
    let timeline = Arc::new(Timeline::new(ground.keeps_lines));
    let mut world = World::begin(folder, ground, timeline.clone()).await?;
    for act in &schedule.acts {
        world.act(*act).await?;
    }
    world.end_of_faults().await;
    let loss = world.model.state().loss;
    let within = world.heals_within();
    let healed_in = world.until_quiet(within).await?;
    if healed_in.is_none() {
        world.failures.push(format!("not all is settled {} s after the last fault", within.as_secs()));
    }
    world.look_at_all().await?;
    let answers = folder.join("answers.jsonl");
    world.clients.record(&answers)?;
    let report =
        check::audit(&check::read(&Databases::in_folder(folder), Some(&answers)).await?, Moment::Final);
    let mut failures = std::mem::take(&mut world.failures);
    for finding in report.violated() {
        failures.extend(
            finding.violations.witnesses.iter().map(|witness| format!("{}: {witness}", finding.name)),
        );
    }
    let struck = world.model.state().struck.clone();
    world.end().await;
    let points = crash::take_counts();
    timeline.tell("audit", || format!("{} orders, {failures:?}", report.orders));
    simulated::end();
    let (hash, lines, orders) = (timeline.hash(), timeline.lines(), report.orders);
    Ok(Outcome { failures, hash, lines, orders, healed_in, loss, struck, points })
}
