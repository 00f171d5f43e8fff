//! A whole run, from the first process to the audit, on processes of its own or on the containers of compose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::arguments::Plan;
use super::containers::Containers;
use super::recovery::Remaining;
use super::report::Report;
use super::run::{Injected, Injector};
use super::site::{OwnSite, Site};
use super::timeline::Entry;
use super::traffic::{Endpoints, PRODUCTS, SCARCE, Traffic};
use super::{dead_letters, recovery};
use crate::binaries::Binaries;
use crate::check::{self, Databases, Moment};
use crate::compose;
use crate::load::{PLENTY, Totals};
use crate::topology::TopologyConfig;

/// So little of the scarce product that most of its orders are cancelled.
const FEW: u64 = 500;

/// The answers of the load, in the run's folder.
pub const ANSWERS: &str = "answers.jsonl";

/// A run whose topology is stopped and whose databases have not been audited yet.
pub struct Finished {
    plan: Plan,
    folder: PathBuf,
    /// Whether nobody else used the databases.
    is_own: bool,
    injected: Injected,
    recovered: Result<Duration, Remaining>,
    totals: Totals,
    violations: Vec<String>,
}

/// Runs the plan on a topology of its own in `folder`; calls `print` for each fault once it is recovered from.
pub async fn inject(plan: &Plan, binaries: Binaries, folder: &Path, print: fn(&Entry)) -> Result<Finished> {
    let config = TopologyConfig::in_folder(folder.to_owned(), binaries)?.with_stock(&stock())?;
    let site = OwnSite::start(config).await?;
    let endpoints = Endpoints::of(site.topology());
    let mut site = Site::Own(Box::new(site));
    let traffic = Traffic::start(plan, &endpoints, &folder.join(ANSWERS)).await?;
    let (injected, recovered, totals) = drive(plan, &mut site, &endpoints, traffic, print).await?;
    let mut violations = Vec::new();
    if let Site::Own(mut site) = site
        && let Err(error) = site.stop().await
    {
        violations.push(format!("the topology did not stop cleanly: {error:#}"));
    }
    let folder = folder.to_owned();
    Ok(Finished { plan: plan.clone(), folder, is_own: true, injected, recovered, totals, violations })
}

/// Runs the plan on the containers of compose, and audits copies of their databases.
pub async fn on_compose(plan: &Plan, folder: &Path, print: fn(&Entry)) -> Result<Report> {
    let containers = Containers::find().await?;
    let endpoints = Endpoints::of_containers(&containers);
    let mut site = Site::Compose(containers);
    let traffic = Traffic::start(plan, &endpoints, &folder.join(ANSWERS)).await?;
    let (injected, recovered, totals) = drive(plan, &mut site, &endpoints, traffic, print).await?;
    let databases = compose::copy_databases(folder).await?;
    let (plan, folder, violations) = (plan.clone(), folder.to_owned(), Vec::new());
    Finished { plan, folder, is_own: false, injected, recovered, totals, violations }.report(&databases).await
}

async fn drive(
    plan: &Plan,
    site: &mut Site,
    endpoints: &Endpoints,
    traffic: Traffic,
    print: fn(&Entry),
) -> Result<(Injected, Result<Duration, Remaining>, Totals)> {
    let mut injector = Injector::new(plan, site, (endpoints, &traffic), print);
    injector.run().await;
    traffic.end_load().await?;
    let recovered = recovery::wait(endpoints, &traffic).await;
    let injected = injector.finish().await;
    Ok((injected, recovered, traffic.finish()?))
}

fn stock() -> Value {
    let stock = |product| if product == SCARCE { FEW } else { PLENTY };
    (1..=PRODUCTS).map(|product| json!({"productId": product.to_string(), "stock": stock(product)})).collect()
}

impl Finished {
    pub async fn audit(mut self) -> Result<Report> {
        let folder = self.folder.clone();
        self.violations.extend(dead_letters::check(&folder, &self.injected).await?);
        self.report(&Databases::in_folder(&folder)).await
    }

    async fn report(mut self, databases: &Databases) -> Result<Report> {
        let snapshot = check::read(databases, Some(&self.folder.join(ANSWERS))).await?;
        let audit = check::audit(&snapshot, Moment::Final);
        // Only settled orders are poisoned, and none is made by hand.
        for (what, listing) in [("set aside", &audit.set_aside), ("foreign", &audit.foreign)] {
            let witness = listing.witnesses.first().filter(|_| self.is_own);
            self.violations.extend(witness.map(|first| format!("{} {what}, such as {first}", listing.count)));
        }
        self.violations.extend(self.injected.broken.take());
        self.violations.append(&mut self.injected.waited);
        if let Err(remaining) = self.recovered {
            self.violations
                .push(format!("{} s after the last fault {remaining}", recovery::WITHIN.as_secs()));
        }
        let counts = self.injected.timeline.counts(self.plan.min_pending);
        let minimums = self.plan.minimums.as_ref();
        Ok(Report {
            seed: self.plan.seed,
            duration: self.plan.duration,
            shortfalls: minimums
                .map(|least| least.shortfalls(&counts, self.totals.accepted))
                .unwrap_or_default(),
            counts,
            timeline: self.injected.timeline,
            skipped: self.injected.skipped,
            totals: self.totals,
            recovery: self.recovered.ok(),
            audit: Some(audit),
            violations: self.violations,
            kept: None,
        })
    }
}
