//! `sim chaos`: load, faults while it runs, a recovery without faults, and an audit, with one verdict.
//!
//! - [`arguments`], [`preset`], [`schedule`], [`fault`]: what shall happen, and when
//! - [`site`], [`containers`]: where it happens; [`surroundings`], [`messages`], [`attack`]: how
//! - [`traffic`], [`run`], [`timeline`]: the load, the faults under it, and how everything recovered
//! - [`recovery`], [`dead_letters`], [`report`]: the end, and what was found

pub mod arguments;
mod attack;
mod containers;
mod dead_letters;
pub mod fault;
mod messages;
mod own;
pub mod preset;
mod recovery;
pub mod report;
mod run;
pub mod schedule;
pub mod site;
mod surroundings;
pub mod timeline;
mod traffic;

use std::path::Path;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub use self::arguments::{ChaosArgs, Plan};
use self::fault::Kind;
pub use self::own::{Finished, inject};
use self::report::Report;
use self::timeline::Entry;
use crate::binaries::{Binaries, Profile};
use crate::up::Signals;

/// What an interrupted run on containers leaves.
const CONTAINERS_STAY: &str = "; the containers are as the last fault left them: `docker compose unpause` and `docker compose start` mend them";

/// Runs the command; an error if anything is violated, or if a preset did less than it must.
pub async fn run(args: ChaosArgs) -> Result<()> {
    let plan = Plan::new(&args)?;
    let mut signals = Signals::listen()?;
    let print: fn(&Entry) =
        if args.json { |entry| eprintln!("{entry}") } else { |entry| println!("{entry}") };
    let folder = tempfile::Builder::new().prefix("sim-chaos-").tempdir().context("cannot create a folder")?;
    let run = async {
        if args.compose {
            own::on_compose(&plan, folder.path(), print).await
        } else {
            on_processes(&plan, folder.path(), print).await
        }
    };
    // Dropped, a topology takes its processes down.
    let result = tokio::select! {
        result = run => result,
        () = signals.next() => bail!("interrupted{}", if args.compose { CONTAINERS_STAY } else { "" }),
    };
    let report = keep_if_failed(folder, result)?;
    match args.json {
        true => println!("{:#}", report.json()),
        false => print!("{report}"),
    }
    match report.has_passed() {
        true => Ok(()),
        false => bail!("{}", report.verdict()),
    }
}

async fn on_processes(plan: &Plan, folder: &Path, print: fn(&Entry)) -> Result<Report> {
    let panics = plan.schedule.iter().any(|planned| planned.fault.kind == Kind::Panic);
    let binaries = match panics {
        true => Binaries::build_with_fail_points(folder)?,
        false => Binaries::build(Profile::Release)?,
    };
    inject(plan, binaries, folder, print).await?.audit().await
}

/// Removes the run's folder, unless something is wrong: then it stays, and the result says where.
pub fn keep_if_failed(folder: TempDir, result: Result<Report>) -> Result<Report> {
    match result {
        Ok(report) if report.has_passed() => Ok(report),
        Ok(report) => Ok(Report { kept: Some(folder.keep()), ..report }),
        Err(error) => {
            let kept = folder.keep();
            Err(error.context(format!("the run broke off; its logs and databases are in {}", kept.display())))
        }
    }
}
