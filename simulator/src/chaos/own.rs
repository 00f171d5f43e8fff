//! A whole run, from the first process to the audit, on processes of its own or on the containers of compose.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::arguments::Plan;
use super::containers::Containers;
use super::dead_letters;
use super::report::Report;
use super::run::{Injector, SentPoison};
use super::site::{OwnSite, Site};
use super::timeline::Entry;
use super::traffic::{PRODUCTS, SCARCE, Traffic};
use crate::binaries::Binaries;
use crate::check;
use crate::check::{Databases, Listing, Moment};
use crate::compose;
use crate::load::PLENTY;
use crate::topology::TopologyConfig;

/// So little of the scarce product that most of its orders are cancelled.
const FEW: u64 = 500;

const ANSWERS: &str = "answers.jsonl";

/// A run whose topology is stopped and whose databases have not been audited yet.
pub struct Finished {
    report: Report,
    poison: SentPoison,
    folder: PathBuf,
}

/// Runs the plan on a topology of its own in `folder`; calls `print` for each fault that is recovered from.
pub async fn inject(plan: &Plan, binaries: Binaries, folder: &Path, print: fn(&Entry)) -> Result<Finished> {
    let config = TopologyConfig::in_folder(folder.to_owned(), binaries)?.with_stock(&stock())?;
    let mut site = Site::Own(OwnSite::start(config).await?);
    let mut finished = drive(plan, &mut site, folder, print).await?;
    if let Site::Own(mut site) = site
        && let Err(error) = site.topology.stop().await
    {
        finished.report.violations.push(format!("the topology did not stop cleanly: {error:#}"));
    }
    Ok(finished)
}

/// Runs the plan on the containers of compose, and audits copies of their databases.
pub async fn on_compose(plan: &Plan, folder: &Path, print: fn(&Entry)) -> Result<Report> {
    let mut site = Site::Compose(Containers::find().await?);
    let finished = drive(plan, &mut site, folder, print).await?;
    audit(finished.report, &compose::copy_databases(folder).await?, folder).await
}

async fn drive(plan: &Plan, site: &mut Site, folder: &Path, print: fn(&Entry)) -> Result<Finished> {
    let traffic = Traffic::start(plan, site.endpoints(), &folder.join(ANSWERS)).await?;
    let (report, poison) = Injector::new(plan, site, traffic, print).run().await?;
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
