//! `sim check`: the auditor. Reads both databases and what clients were told, and says what is violated.
//!
//! It only reads, and may run while the services do. What is *not settled yet*, *set aside* or *foreign* is
//! told apart from what is violated. Other commands and tests use it as [`snapshot`] and [`audit`].

mod answered;
mod invariants;
mod names;
mod read;
mod report;
pub mod snapshot;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use processes::workspace;

pub use self::answered::{Answered, Fate, Observed, Request};
pub use self::names::{Name, Names, OrderId};
pub(crate) use self::read::open;
pub use self::read::{Databases, read};
pub use self::report::{Finding, Listing, Moment, Report, audit};
use self::snapshot::Snapshot;
use crate::compose;
use crate::printing::print;
use crate::signals::interruptible;

/// Audits both databases: I1 to I10, each violation with its witnesses. Exits with 1 when one is violated.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The order service's database, instead of db/order.db
    #[arg(long, value_name = "FILE")]
    pub order_db: Option<PathBuf>,
    /// The inventory service's database, instead of db/inventory.db
    #[arg(long, value_name = "FILE")]
    pub inventory_db: Option<PathBuf>,
    /// What clients were told, as `sim load --answers FILE` recorded it
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Take copies out of the running compose topology
    #[arg(long, conflicts_with_all = ["order_db", "inventory_db"])]
    pub compose: bool,
    /// Everything should have ended: pending orders and rows in an outbox count as violations
    #[arg(long = "final")]
    pub is_final: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command; an error if an invariant is violated.
pub async fn run(args: CheckArgs) -> Result<()> {
    let answers = args.answers.as_deref();
    let snapshot = match args.compose {
        true => interruptible(read_containers(answers)).await?,
        false => read(&local(&args), answers).await?,
    };
    let report = audit(&snapshot, if args.is_final { Moment::Final } else { Moment::Running });
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    print(text);
    match report.violations() {
        0 => Ok(()),
        1 => bail!("1 violation"),
        count => bail!("{count} violations"),
    }
}

/// The copies are gone once they are read, or once the future is dropped.
async fn read_containers(answers: Option<&Path>) -> Result<Snapshot> {
    let folder = tempfile::tempdir().context("cannot create a folder for copies")?;
    read(&compose::copy_databases(folder.path()).await?, answers).await
}

fn local(args: &CheckArgs) -> Databases {
    let Databases { order, inventory, .. } = Databases::in_folder(&workspace::db());
    let order = args.order_db.clone().unwrap_or(order);
    Databases { order_again: order.clone(), order, inventory: args.inventory_db.clone().unwrap_or(inventory) }
}
