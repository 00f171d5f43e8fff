//! The `sim` command.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use shared::operations::log::STDOUT;
use shared::operations::telemetry;

use crate::bench::{self, BenchArgs, BoundArgs};
use crate::chaos::{self, ChaosArgs};
use crate::check::{self, CheckArgs};
use crate::load::{self, LoadArgs};
use crate::reset::{self, ResetArgs};
use crate::up::{self, UpArgs};

/// Runs the order and inventory services with their broker on this machine.
#[derive(Parser)]
#[command(name = "sim", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(UpArgs),
    Reset(ResetArgs),
    Load(LoadArgs),
    Bench(BenchArgs),
    Bound(BoundArgs),
    Check(CheckArgs),
    Chaos(ChaosArgs),
}

/// What the process does. Here and not in `main.rs`: there it would all be compiled once more.
// One thread: the load shall leave the machine to the services, and nothing else here has work for two.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    let result = run(Cli::parse()).await;
    STDOUT.flush();
    telemetry::exit_code("sim", result)
}

async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up(args) => up::run(args).await,
        Command::Reset(args) => reset::run(args),
        Command::Load(args) => load::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Bound(args) => bench::run_bound(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Chaos(args) => chaos::run(args).await,
    }
}
