//! `sim bound`: one half of the bound as a process of its own, as each service is one.
//!
//! It prints that it is ready, and ends with its standard input; so it never outlives whoever has started it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};

use super::{inventory, order};
use crate::load::parse_duration;

/// What a half prints once it can begin.
pub(super) const READY: &str = "ready";

/// Moves the bytes of orders with no logic around them; `sim bench` starts it.
#[derive(Debug, Clone, Args)]
#[command(hide = true)]
pub struct BoundArgs {
    #[arg(value_enum)]
    pub half: Half,
    #[arg(long)]
    pub database: PathBuf,
    #[arg(long)]
    pub nats_url: String,
    /// Clients that each place their next order when the last one is committed
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Half {
    Order,
    Inventory,
}

/// What the half that orders prints in the end, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub settled: u64,
    /// From the first order until the last one was settled.
    pub seconds: f64,
}

/// Runs the command.
pub async fn run(args: BoundArgs) -> Result<()> {
    match args.half {
        Half::Inventory => inventory::run(&args).await,
        Half::Order => {
            let told = order::run(&args).await?;
            println!("{}", serde_json::to_string(&told)?);
            // Its processor time is read while it lives.
            told_to_end().await;
            Ok(())
        }
    }
}

pub(super) fn say_ready() {
    println!("{READY}");
}

/// Waits for a line.
pub(super) async fn told_to_go() -> Result<()> {
    let read = BufReader::new(stdin()).read_line(&mut String::new()).await;
    ensure!(read.context("cannot read the standard input")? > 0, "told to end before the start");
    Ok(())
}

/// Waits for the end of the standard input.
pub(super) async fn told_to_end() {
    let _ = stdin().read_to_end(&mut Vec::new()).await;
}
