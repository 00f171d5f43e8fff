//! The `sim` command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use shared::operations::log::STDOUT;
use shared::operations::telemetry;

use crate::bench::{self, BenchArgs, BoundArgs};
use crate::binaries;
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
    /// Runs both services under a scheduler and on a model of the broker, with faults drawn from seeds
    #[command(disable_help_flag = true)]
    Simulate(Passed),
}

/// What is handed on to another program.
#[derive(Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
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
        Command::Simulate(Passed { args }) => simulate(&args),
    }
}

/// Another build of the services, with their clock in the simulation's hands. Returns only where it cannot be begun.
fn simulate(args: &[OsString]) -> Result<()> {
    let program = binaries::build_simulation()?;
    let error = process::Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
