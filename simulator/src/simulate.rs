//! What `sim simulate` builds and runs.

use std::process::ExitCode;

use clap::Parser;
use shared::operations::telemetry;
use simulator::simulation::{SimulateArgs, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::exit_code("sim", run(SimulateArgs::parse()).await)
}
