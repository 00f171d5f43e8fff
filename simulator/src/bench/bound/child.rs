//! `sim bound`: one half of the bound as a process of its own, as each service is one.

use anyhow::Result;

use super::arguments::{BoundArgs, Half};
use super::{inventory, order};

/// Runs the command.
pub async fn run(args: BoundArgs) -> Result<()> {
    match args.half {
        Half::Inventory => inventory::run(&args).await,
        Half::Order => order::run(&args).await,
    }
}
