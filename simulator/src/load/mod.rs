//! `sim load`: orders in a closed loop or at a rate, watched until every accepted one is settled.
//!
//! In a closed loop each connection sends its next order when the last one is answered. In an open loop
//! orders are due at a rate, and latencies count from then: a stall is charged for everybody who waited.
//! Without `--target` it measures a topology of its own. Other commands drive a [`Load`] themselves.

mod arguments;
mod callers;
mod cpu;
mod end;
mod order;
pub mod plan;
mod progress;
mod schedule;
mod summary;
mod tally;
mod target;
mod watch;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use processes::token;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::arguments::LoadArgs;
pub(crate) use self::arguments::parse_duration;
pub(crate) use self::callers::warm_up;
pub(crate) use self::cpu::{CpuMeter, micros_each};
pub use self::order::Order;
use self::plan::LoadPlan;
use self::progress::Progress;
pub(crate) use self::summary::Summary;
pub use self::tally::{SharedTally, Totals};
pub use self::target::{Load, Target, User};
pub use self::watch::Watch;
use crate::answers::{Coverage, Recorder};
use crate::binaries::{Binaries, Profile};
use crate::check;
use crate::check::{Databases, Moment};
use crate::printing::print;
use crate::signals::interruptible;
use crate::topology::{Topology, TopologyConfig};

/// More of a product than any run can order.
pub const PLENTY: u64 = 1_000_000_000;

/// Runs the command and prints its summary; an error if an accepted order was not settled, or on a signal.
pub async fn run(args: LoadArgs) -> Result<()> {
    // Dropped, a topology takes its processes and its folder down.
    interruptible(run_to_its_end(&args)).await?.check_settled()
}

async fn run_to_its_end(args: &LoadArgs) -> Result<Summary> {
    match &args.target {
        Some(url) => measure_target(args, url).await,
        None => measure_own(args).await,
    }
}

async fn measure_target(args: &LoadArgs, url: &str) -> Result<Summary> {
    let plan = args.plan();
    let target = match &args.token {
        Some(token) => Target::with_token(url, token),
        None => Target::signed(url, &token::secret(), &plan.mix)?,
    };
    target.probe().await?;
    let load = Load::new(plan, target, recorder(args, Coverage::Partial)?);
    let summary = measure(&load, None).await?;
    print(&summary);
    Ok(summary)
}

async fn measure_own(args: &LoadArgs) -> Result<Summary> {
    let folder = tempfile::tempdir().context("cannot create a folder for the load's topology")?;
    let (binaries, recorder) = (Binaries::build(Profile::Release)?, recorder(args, Coverage::Complete)?);
    let (mut topology, load) = start_own(folder.path(), args.plan(), binaries, recorder).await?;
    let summary = measure(&load, Some(&topology)).await?;
    topology.stop().await?;
    print(&summary);
    if let Some(answers) = &args.answers {
        audit(folder.path(), answers).await?;
    }
    Ok(summary)
}

/// Watches by the events of the topology, where it is one of our own.
pub(crate) async fn measure(load: &Load, topology: Option<&Topology>) -> Result<Summary> {
    let watch = load.watch(topology.map(Topology::nats_url).as_deref()).await?;
    let cpu = topology.map(CpuMeter::start);
    let progress = Progress::start(load);
    load.send(&CancellationToken::new()).await?;
    let (totals, refused) = (load.tally.totals(), load.tally.lock().refused.clone());
    ensure!(totals.accepted > 0, "no order was accepted; answers by status code: {refused:?}");
    let end = end::wait(load).await?;
    drop(progress);
    let (seed, tally) = (load.plan.seed, load.tally.lock().clone());
    let cpu = cpu.as_ref().map(CpuMeter::used).unwrap_or_default();
    drop(watch);
    load.recorder.as_ref().map_or(Ok(()), Recorder::finish)?;
    Ok(Summary { seed, tally, end, cpu })
}

/// Waits until what was seen settled last is settled at the order service, too; when that was.
pub(crate) async fn wait_for_end(load: &Load) -> Result<Instant> {
    Ok(end::wait(load).await?.at)
}

/// Starts a topology with plenty of stock, and orders once as a warm-up.
pub(crate) async fn start_own(
    folder: &Path,
    plan: LoadPlan,
    binaries: Binaries,
    recorder: Option<Recorder>,
) -> Result<(Topology, Load)> {
    let topology = Topology::start(own_config(folder, &plan, binaries)?).await?;
    let mut target = Target::signed(&topology.order_url(), shared::settings::DEMO_SECRET, &plan.mix)?;
    target.inventory_url = Some(topology.inventory_url());
    let load = Load::new(plan, target, recorder);
    warm_up(&load).await?;
    Ok((topology, load))
}

fn recorder(args: &LoadArgs, coverage: Coverage) -> Result<Option<Recorder>> {
    args.answers.as_deref().map(|path| Recorder::create(path, coverage)).transpose()
}

/// The topology's databases go with its folder, so they are audited before.
async fn audit(folder: &Path, answers: &Path) -> Result<()> {
    let snapshot = check::read(&Databases::in_folder(folder), Some(answers)).await?;
    let report = check::audit(&snapshot, Moment::Final);
    if !report.clean {
        bail!("the audit found {} violations\n{report}", report.violations());
    }
    print("violations       0\n");
    Ok(())
}

fn own_config(folder: &Path, plan: &LoadPlan, binaries: Binaries) -> Result<TopologyConfig> {
    let product = |product: u32| json!({"productId": product.to_string(), "stock": PLENTY});
    let stock = (1..=plan.mix.products).map(product).collect();
    TopologyConfig::in_folder(folder.to_owned(), binaries)?.with_stock(&stock)
}
