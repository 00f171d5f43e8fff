//! `sim load`: a closed loop of POSTs, watched until every accepted order is settled.
//!
//! Each connection sends its next order when the last one is answered, so the rate is what the services can do with so
//! many callers. Without `--target` it measures a topology of its own, in a folder that goes with it.

mod arguments;
mod cpu;
mod end;
mod summary;
mod tally;
mod watch;
mod workers;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

pub use self::arguments::LoadArgs;
use self::cpu::CpuMeter;
use self::summary::Summary;
use self::tally::Tally;
use self::workers::Target;
use crate::binaries::{Binaries, Profile};
use crate::token;
use crate::topology::{Topology, TopologyConfig};

/// Products of the topology that the load starts for itself.
const PRODUCTS: usize = 10;

/// More of each than any run can order.
const STOCK: u64 = 1_000_000_000;

/// Runs the command and prints its summary; an error if an accepted order was not settled.
pub async fn run(args: LoadArgs) -> Result<()> {
    let summary = match args.target.clone() {
        Some(url) => measure_target(&args, url).await?,
        None => measure_own(&args).await?,
    };
    print!("{summary}");
    if summary.unsettled > 0 {
        bail!("{} accepted orders were not settled", summary.unsettled);
    }
    Ok(())
}

async fn measure_target(args: &LoadArgs, url: String) -> Result<Summary> {
    let token = match &args.token {
        Some(token) => token.clone(),
        None => token::sign(&token::secret(), "load")?,
    };
    let target = Target::new(url, &token, std::slice::from_ref(&args.product));
    let tally = Tally::shared();
    let watch = watch::by_asking(&target, &tally);
    workers::run(args, &target, &tally).await?;
    let end = end::wait(&target, &tally).await?;
    drop(watch);
    Ok(Summary::new(&tally, &end, Vec::new()))
}

async fn measure_own(args: &LoadArgs) -> Result<Summary> {
    let folder = tempfile::tempdir().context("cannot create a folder for the load's topology")?;
    let mut topology = Topology::start(own_config(folder.path())?).await?;
    let products: Vec<String> = (1..=PRODUCTS).map(|product| product.to_string()).collect();
    let target = Target::new(topology.order_url(), &topology.token("load")?, &products);
    workers::warm_up(&target).await?;
    let tally = Tally::shared();
    let watch = watch::by_events(&topology.nats_url(), &tally).await?;
    let cpu = CpuMeter::start(&topology);
    workers::run(args, &target, &tally).await?;
    let end = end::wait(&target, &tally).await?;
    let summary = Summary::new(&tally, &end, cpu.used());
    drop(watch);
    topology.stop().await?;
    Ok(summary)
}

fn own_config(folder: &Path) -> Result<TopologyConfig> {
    let binaries = Binaries::build(Profile::Release)?;
    let mut config = TopologyConfig::in_folder(folder.to_owned(), binaries)?;
    config.seed_file = Some(write_stock(folder)?);
    Ok(config)
}

fn write_stock(folder: &Path) -> Result<PathBuf> {
    let stock: Vec<_> =
        (1..=PRODUCTS).map(|product| json!({"productId": product.to_string(), "stock": STOCK})).collect();
    let path = folder.join("seed.json");
    fs::write(&path, serde_json::to_vec(&stock)?).context("cannot write the load's stock")?;
    Ok(path)
}
