//! `sim bench`: how many orders a second this machine settles, how fast, and what one costs, as medians and ranges.
//!
//! Each round measures every scenario once, on a topology of its own in a fresh folder. So whatever else the machine
//! does meanwhile falls on all scenarios alike, and only figures of one run are to be compared.

mod arguments;
mod backlog;
mod bound;
mod figures;
mod footprint;
mod ground;
mod growth;
mod idle;
mod loads;
mod machine;
mod ratios;
mod reads;
mod report;
mod scenario;
mod sizes;
mod table;

use std::fs;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use shared::operations::log::STDERR;

pub use self::arguments::{BenchArgs, Section};
pub use self::bound::{BoundArgs, run as run_bound};
use self::loads::Loads;
use self::machine::Machine;
use self::reads::Reads;
use self::report::Report;
use self::table::Table;
use crate::binaries::{Binaries, Profile};
use crate::printing::print;
use crate::signals::interruptible;

/// Runs the command and prints the report; an error if an accepted order was not settled, or on a signal.
pub async fn run(args: BenchArgs) -> Result<()> {
    let files = [&args.markdown, &args.json];
    ensure!(files[0].is_none() || files[0] != files[1], "--markdown and --json name the same file");
    // Before half an hour is spent on what cannot be written.
    files.into_iter().flatten().try_for_each(|path| check_writable(path))?;
    // Dropped, a topology takes its processes and its folder down.
    let report = interruptible(measure(&args)).await?;
    print(&report);
    let texts = [report.to_string(), serde_json::to_string_pretty(&report)? + "\n"];
    files
        .into_iter()
        .zip(&texts)
        .try_for_each(|(path, text)| path.iter().try_for_each(|path| write(path, text)))
}

/// What the file holds stays until there is something to put in its place.
fn check_writable(path: &Path) -> Result<()> {
    let opened = File::options().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display())).map(drop)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = fs::write(path, text);
    written.with_context(|| format!("cannot write {}", path.display()))
}

async fn measure(args: &BenchArgs) -> Result<Report> {
    let binaries = Binaries::build(Profile::Release)?;
    let machine = Machine::look()?;
    let mut tables = rounds(args, &binaries).await?;
    if args.wants(Section::Backlog) {
        STDERR.tell(&format!("a backlog of {} orders", args.backlog));
        tables.push(backlog::table(&binaries, args.backlog).await.context("the backlog")?);
    }
    if args.wants(Section::Growth) {
        STDERR.tell(&format!("growth by {} orders", args.growth));
        tables.extend(growth::tables(&binaries, args.growth).await.context("growth")?);
    }
    tables.push(sizes::table(&binaries).await?);
    Ok(Report { machine, rounds: args.rounds_wanted(), seconds: args.duration.as_secs_f64(), tables })
}

/// Measures in turns what is measured in rounds.
async fn rounds(args: &BenchArgs, binaries: &Binaries) -> Result<Vec<Table>> {
    let mut loads = args.wants(Section::Load).then(Loads::default);
    let mut reads = match args.wants(Section::Reads) {
        true => Some(Reads::fill(binaries, &args.stored).await?),
        false => None,
    };
    let rounds = args.rounds_wanted();
    for round in 1..=rounds {
        STDERR.tell(&format!("round {round} of {rounds}"));
        if let Some(loads) = &mut loads {
            loads.round(binaries, args.duration).await?;
        }
        if let Some(reads) = &mut reads {
            reads.round(args.duration).await?;
        }
    }
    let loads = loads.map(Loads::tables).unwrap_or_default();
    Ok(loads.into_iter().chain(reads.map(Reads::table)).collect())
}
