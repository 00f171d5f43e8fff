//! `sim simulate`: both services, as they are, under a scheduler and on a model of the broker.
//!
//! A seed makes a schedule: which of the tasks takes the next step, what clients ask for, and what goes wrong. Everything
//! that the services are made of runs on one thread and on real SQLite, one step at a time; time passes when
//! nobody can go on. So a schedule says all that happens, and the same one happens again, whenever it is run.
//! After its last act nothing goes wrong any more. Then all must be settled in time, and the audit must find nothing.
//!
//! Only with the feature `simulation`, in a binary of its own: what people run has nothing of it.

mod acts;
mod arguments;
mod clients;
mod crash;
mod draw;
mod executor;
mod jobs;
mod lives;
mod model;
mod mutants;
mod node;
mod oracle;
mod quiet;
mod report;
mod run;
mod schedule;
mod shrink;
mod timeline;
mod world;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::arguments::ACTS;
pub use self::arguments::SimulateArgs;
use self::jobs::{Settings, Shared, folder, join, start};
pub use self::model::{Model, Seat};
pub use self::mutants::Mutant;
use self::report::{Failure, Totals};
pub use self::run::Outcome;
use self::run::{run as run_one, templates};
pub use self::schedule::Schedule;
pub use self::timeline::Side;
use self::world::Ground;
use crate::printing::print;
use crate::signals::{Signals, interruptible};

/// After so many failures no further schedule is begun.
const FAILURES: usize = 3;
/// So many schedules of the usual length reach every fail-point, and are struck by every fault.
const REACH_ALL: u64 = 2_000;

/// Runs the command; an error if anything is violated, or a planted fault is not found.
pub async fn run(args: SimulateArgs) -> Result<()> {
    if args.mutants {
        return find_mutants(&args).await;
    }
    if let Some(schedule) = only_schedule(&args)? {
        return interruptible(replay(&schedule, &args)).await;
    }
    let settings = Settings { acts: args.acts, mutant: args.mutant, failures: FAILURES };
    let started = Instant::now();
    let totals = run_many(settings, &args).await?;
    let (count, seconds) = (totals.schedules, started.elapsed().as_secs_f64());
    let rate = count as f64 / seconds;
    print(format_args!("{totals}\n{count} schedules in {seconds:.1} s, {rate:.1} a second\n"));
    totals.failures.iter().try_for_each(|failure| keep(failure, &args))?;
    judge(totals, args.acts)
}

/// An error unless all is as it must be.
fn judge(totals: Totals, acts: u32) -> Result<()> {
    let (failures, missing) = (totals.failures.len(), totals.missing());
    let is_enough = totals.schedules >= REACH_ALL && acts >= ACTS;
    ensure!(failures == 0, "{failures} schedules fail");
    totals.end()?;
    ensure!(
        !is_enough || missing.is_empty(),
        "never reached, never struck, or not in the list of fail-points: {}",
        missing.join(", ")
    );
    Ok(())
}

/// Runs schedules from the first seed on until there are so many, or enough of them fail.
async fn run_many(settings: Settings, args: &SimulateArgs) -> Result<Totals> {
    let (shared, mut signals) = (Shared::new(settings, args.from, args.seeds), Signals::listen()?);
    let (jobs, bar, mut is_interrupted) = (start(&shared, args.jobs)?, progress(args.seeds), false);
    while !jobs.iter().all(|job| job.is_finished()) {
        tokio::select! {
            () = signals.next() => {
                is_interrupted = true;
                shared.stop();
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        bar.set_position(shared.totals().schedules);
    }
    bar.finish_and_clear();
    let broken = jobs.into_iter().find_map(|job| join(job).err());
    let totals = std::mem::take(&mut *shared.totals());
    Ok(Totals { is_interrupted, broken, ..totals })
}

fn progress(count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    // Only a wrong template is an error, and this one is a constant.
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} schedules, {per_sec}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn only_schedule(args: &SimulateArgs) -> Result<Option<Schedule>> {
    if let Some(path) = &args.replay {
        return Schedule::read(path).map(Some);
    }
    Ok(args.seed.map(|seed| Schedule::draw(seed, args.acts)))
}

async fn replay(schedule: &Schedule, args: &SimulateArgs) -> Result<()> {
    let outcome = run_alone(schedule, args.mutant).await?;
    if args.log {
        outcome.lines.iter().for_each(|line| print(format_args!("{line}\n")));
    }
    outcome.failures.iter().for_each(|failure| print(format_args!("{failure}\n")));
    ensure!(outcome.failures.is_empty(), "the schedule fails");
    print(format_args!("{} orders, nothing is violated\n", outcome.orders));
    Ok(())
}

/// Writes what is needed of a schedule that fails, and says how it is run again.
fn keep(failure: &Failure, args: &SimulateArgs) -> Result<()> {
    let (beside, flag) = match args.mutant.map(Mutant::name) {
        Some(name) => (format!("-{name}"), format!(" --mutant {name}")),
        None => Default::default(),
    };
    let path = args.keep.join(format!("{}{beside}.json", failure.seed));
    write(failure, &path)?;
    print(format_args!("cargo sim simulate --replay '{}' --log{flag}\n", path.display()));
    Ok(())
}

fn write(failure: &Failure, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    failure.shortest.write(path)
}

/// Each planted fault: how many schedules it takes until it is found, and how much of that one is needed.
async fn find_mutants(args: &SimulateArgs) -> Result<()> {
    print("| planted fault | found by schedule | acts needed | what is found |\n|---|---|---|---|\n");
    let mut missed = Vec::new();
    for mutant in Mutant::value_variants() {
        let settings = Settings { acts: args.acts, mutant: Some(*mutant), failures: 1 };
        let totals = run_many(settings, args).await?;
        let name = mutant.name();
        let Some(failure) = totals.failures.iter().min_by_key(|failure| failure.seed) else {
            totals.end()?;
            missed.push(name);
            continue;
        };
        let (number, acts) = (failure.seed - args.from + 1, failure.shortest.acts.len());
        let what = failure.what.first().map_or("", String::as_str);
        print(format_args!("| {name} | {number} | {acts} | {what} |\n"));
        write(failure, &args.keep.join(format!("{name}.json")))?;
        totals.end()?;
    }
    ensure!(missed.is_empty(), "not found within {} schedules: {}", args.seeds, missed.join(", "));
    Ok(())
}

/// Runs one schedule and keeps its lines; with a planted fault, or without one.
pub async fn run_alone(schedule: &Schedule, mutant: Option<Mutant>) -> Result<Outcome> {
    let folder = folder()?;
    let templates = templates(folder.path(), mutant).await?;
    run_one(schedule, &Ground { keeps_lines: true, ..Ground::new(&templates, mutant) }).await
}
