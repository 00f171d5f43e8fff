//! `sim chaos`: load, faults while it runs, a recovery without faults, and an audit, with one verdict.
//!
//! - [`arguments`], [`preset`], [`schedule`], [`fault`]: what shall happen, and when
//! - [`site`], [`containers`]: where it happens; [`surroundings`], [`messages`], [`attack`]: how
//! - [`traffic`], [`run`], [`timeline`]: the load, the faults under it, and how everything recovered
//! - [`dead_letters`], [`report`]: what was found

pub mod arguments;
mod attack;
mod containers;
mod dead_letters;
pub mod fault;
mod messages;
pub mod preset;
pub mod report;
mod run;
pub mod schedule;
pub mod site;
mod surroundings;
pub mod timeline;
mod traffic;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::arguments::{ChaosArgs, Plan};
use self::containers::Containers;
use self::fault::Kind;
use self::report::Report;
use self::run::{Injector, SentPoison};
use self::site::{OwnSite, Site};
use self::timeline::Entry;
use self::traffic::{PRODUCTS, SCARCE, Traffic};
use crate::binaries::{Binaries, Profile};
use crate::check;
use crate::check::{Databases, Listing, Moment};
use crate::compose;
use crate::load::PLENTY;
use crate::printing::print;
use crate::signals::Signals;
use crate::topology::TopologyConfig;

/// So little of the scarce product that most of its orders are cancelled.
const FEW: u64 = 500;

const ANSWERS: &str = "answers.jsonl";

/// What an interrupted run on containers leaves.
const CONTAINERS_STAY: &str = "; the containers are as the last fault left them: `docker compose unpause` and \
                               `docker compose start` mend them";

/// Runs the command; an error if anything is violated, or if a preset did less than it must.
pub async fn run(args: ChaosArgs) -> Result<()> {
    let plan = Plan::new(&args)?;
    let mut signals = Signals::listen()?;
    let tell: fn(&Entry) =
        if args.json { |entry| eprintln!("{entry}") } else { |entry| print(format_args!("{entry}\n")) };
    let folder = tempfile::Builder::new().prefix("sim-chaos-").tempdir().context("cannot create a folder")?;
    let run = async {
        if args.compose {
            on_compose(&plan, folder.path(), tell).await
        } else {
            on_processes(&plan, folder.path(), tell).await
        }
    };
    // Dropped, a topology takes its processes down.
    let result = tokio::select! {
        result = run => result,
        () = signals.next() => bail!("interrupted{}", if args.compose { CONTAINERS_STAY } else { "" }),
    };
    let report = keep_if_failed(folder, result)?;
    match args.json {
        true => print(format_args!("{:#}\n", report.json())),
        false => print(&report),
    }
    match report.has_passed() {
        true => Ok(()),
        false => bail!("{}", report.verdict()),
    }
}

async fn on_processes(plan: &Plan, folder: &Path, tell: fn(&Entry)) -> Result<Report> {
    let panics = plan.schedule.iter().any(|planned| planned.fault.kind == Kind::Panic);
    let binaries = match panics {
        true => Binaries::build_with_fail_points(folder)?,
        false => Binaries::build(Profile::Release)?,
    };
    inject(plan, binaries, folder, tell).await?.audit().await
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

/// A run whose topology is stopped and whose databases have not been audited yet.
pub struct Finished {
    report: Report,
    poison: SentPoison,
    folder: PathBuf,
}

/// Runs the plan on a topology of its own in `folder`; calls `tell` for each fault that is recovered from.
pub async fn inject(plan: &Plan, binaries: Binaries, folder: &Path, tell: fn(&Entry)) -> Result<Finished> {
    let config = TopologyConfig::in_folder(folder.to_owned(), binaries)?.with_stock(&stock())?;
    let mut site = Site::Own(Box::new(OwnSite::start(config).await?));
    let mut finished = drive(plan, &mut site, folder, tell).await?;
    if let Site::Own(mut site) = site
        && let Err(error) = site.topology.stop().await
    {
        finished.report.violations.push(format!("the topology did not stop cleanly: {error:#}"));
    }
    Ok(finished)
}

/// Runs the plan on the containers of compose, and audits copies of their databases.
pub async fn on_compose(plan: &Plan, folder: &Path, tell: fn(&Entry)) -> Result<Report> {
    let mut site = Site::Compose(Containers::find().await?);
    let finished = drive(plan, &mut site, folder, tell).await?;
    audit(finished.report, &compose::copy_databases(folder).await?, folder).await
}

async fn drive(plan: &Plan, site: &mut Site, folder: &Path, tell: fn(&Entry)) -> Result<Finished> {
    let traffic = Traffic::start(plan, site.endpoints(), &folder.join(ANSWERS)).await?;
    let (report, poison) = Injector::new(plan, site, traffic, tell).run().await?;
    Ok(Finished { report, poison, folder: folder.to_owned() })
}

fn stock() -> Value {
    let stock = |product| if product == SCARCE { FEW } else { PLENTY };
    (1..=PRODUCTS).map(|product| json!({"productId": product.to_string(), "stock": stock(product)})).collect()
}

impl Finished {
    pub async fn audit(self) -> Result<Report> {
        let Self { report, poison, folder } = self;
        let mut report = audit(report, &Databases::in_folder(&folder), &folder).await?;
        report.violations.extend(dead_letters::check(&folder, &poison, report.counts.wipes).await?);
        // Only settled orders are poisoned, and none is made by hand.
        let listings = report
            .audit
            .iter()
            .flat_map(|audit| [("set aside", &audit.set_aside), ("foreign", &audit.foreign)]);
        for (what, Listing { count, witnesses }) in listings {
            report
                .violations
                .extend(witnesses.first().map(|first| format!("{count} {what}, such as {first}")));
        }
        Ok(report)
    }
}

async fn audit(report: Report, databases: &Databases, folder: &Path) -> Result<Report> {
    let snapshot = check::read(databases, Some(&folder.join(ANSWERS))).await?;
    Ok(Report { audit: Some(check::audit(&snapshot, Moment::Final)), ..report })
}
