//! `sim bench`: how many orders a second this machine settles, how fast, and what one costs, as medians and ranges.
//!
//! Each round measures every scenario once, on a topology of its own in a fresh folder. So whatever else the machine
//! does meanwhile falls on all scenarios alike, and only figures of one run are to be compared.

mod arguments;
mod bound;
mod figures;
mod footprint;
mod ground;
mod idle;
mod loads;
mod machine;
mod ratios;
mod report;
mod scenario;
mod table;

use std::fs;

use anyhow::{Context, Result};
use shared::operations::log::STDERR;

pub use self::arguments::BenchArgs;
pub use self::bound::{BoundArgs, run as run_bound};
use self::loads::Loads;
use self::machine::Machine;
use self::report::Report;
use crate::binaries::{Binaries, Profile};
use crate::signals::interruptible;

/// Runs the command and prints the report; an error if an accepted order was not settled, or on a signal.
pub async fn run(args: BenchArgs) -> Result<()> {
    // Dropped, a topology takes its processes and its folder down.
    let report = interruptible(measure(&args)).await?;
    if let Some(path) = &args.markdown {
        fs::write(path, report.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{report}");
    Ok(())
}

async fn measure(args: &BenchArgs) -> Result<Report> {
    let binaries = Binaries::build(Profile::Release)?;
    let machine = Machine::look()?;
    let mut loads = Loads::default();
    for round in 1..=args.rounds {
        STDERR.tell(&format!("round {round} of {}", args.rounds));
        loads.round(&binaries, args.duration).await?;
    }
    let tables = loads.tables();
    Ok(Report { machine, rounds: args.rounds, seconds: args.duration.as_secs_f64(), tables })
}
