//! `sim bench`: how many orders a second this machine settles, how fast, and what one costs, as medians and ranges.
//!
//! Each round measures every scenario once, on a topology of its own in a fresh folder. So whatever else the machine
//! does meanwhile falls on all scenarios alike, and only figures of one run are to be compared.

mod figures;
mod footprint;
mod machine;
mod report;
mod scenario;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use shared::operations::log::STDERR;

use self::figures::Figures;
use self::machine::Machine;
use self::report::Report;
use self::scenario::{SCENARIOS, Scenario};
use crate::binaries::{Binaries, Profile};
use crate::load::parse_duration;
use crate::signals::interruptible;

/// Measures release builds of the services on this machine, and tells the medians of several rounds.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// How often each scenario is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// How long each scenario sends orders: 2s, 10s or 1m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Write the report into this file, in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write each figure of each round into this file, in JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

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
    let mut figures: Vec<(&'static Scenario, Figures)> =
        SCENARIOS.iter().map(|scenario| (scenario, Figures::default())).collect();
    for round in 1..=args.rounds {
        // What this round settled as fast as it could; the scenarios at a rate go by it.
        let mut capacity = None;
        for (scenario, figures) in &mut figures {
            STDERR.tell(&format!("round {round} of {}: {}", args.rounds, scenario.name));
            let measured = scenario.measure(&binaries, args.duration, &mut capacity).await;
            figures.add(measured.with_context(|| scenario.name)?);
        }
    }
    Ok(Report { machine, rounds: args.rounds, seconds: args.duration.as_secs_f64(), figures })
}
