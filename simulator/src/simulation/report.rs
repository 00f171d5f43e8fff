//! What many schedules came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Error, Result, ensure};
use clap::ValueEnum;

use super::crash::{Counts, POINTS};
use super::model::Loss;
use super::model::fault::Fault;
use super::run::Outcome;
use super::schedule::Schedule;

/// A schedule after which something was not as it must be.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    /// What was found.
    pub what: Vec<String>,
    /// As much of the schedule as is needed for it.
    pub shortest: Schedule,
}

#[derive(Debug, Default)]
pub struct Totals {
    pub schedules: u64,
    pub orders: u64,
    /// Schedules in which messages were lost that the broker had acknowledged.
    pub silent: u64,
    pub acts: BTreeMap<String, u64>,
    /// Faults at the broker that have struck.
    pub struck: BTreeMap<Fault, u64>,
    /// How often each fail-point was reached, and at how many of them a service died.
    pub points: Counts,
    /// The longest time from the last fault until all was quiet, by what was lost.
    pub slowest: BTreeMap<Loss, Duration>,
    pub failures: Vec<Failure>,
    /// Somebody has ended it before its time.
    pub is_interrupted: bool,
    /// Why it could not go on.
    pub broken: Option<Error>,
}

impl Totals {
    pub fn add(&mut self, schedule: &Schedule, outcome: Outcome) {
        self.schedules += 1;
        self.orders += outcome.orders;
        let has_lost = outcome.loss > Loss::Nothing;
        self.silent += u64::from(has_lost);
        for act in &schedule.acts {
            *self.acts.entry(act.word()).or_default() += 1;
        }
        for (fault, count) in outcome.struck {
            *self.struck.entry(fault).or_default() += count;
        }
        for (point, (reached, deadly)) in outcome.points {
            let counts = self.points.entry(point).or_default();
            *counts = (counts.0 + reached, counts.1 + deadly);
        }
        let slowest = self.slowest.entry(outcome.loss).or_default();
        *slowest = outcome.healed_in.unwrap_or_default().max(*slowest);
    }

    /// An error if it has ended before its time.
    pub fn end(self) -> Result<()> {
        ensure!(!self.is_interrupted, "interrupted");
        self.broken.map_or(Ok(()), Err)
    }

    /// Fail-points that no schedule has reached.
    fn never_reached(&self) -> impl Iterator<Item = &'static str> {
        POINTS.into_iter().filter(|point| !self.points.contains_key(point))
    }

    /// What many schedules should have had, and these have not.
    pub fn missing(&self) -> Vec<String> {
        let faults = Fault::value_variants().iter().filter(|fault| !self.struck.contains_key(fault));
        // One that is new in the services is to be drawn, too.
        let unknown = self.points.keys().filter(|point| !POINTS.contains(point)).copied();
        self.never_reached()
            .chain(unknown)
            .map(str::to_owned)
            .chain(faults.map(|fault| fault.to_string()))
            .collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, orders, silent, acts, struck, points, slowest, failures, .. } = self;
        writeln!(
            f,
            "schedules         {schedules}, {silent} of them with losses of what the broker had acknowledged"
        )?;
        writeln!(f, "orders            {orders}")?;
        let slowest = slowest.iter().map(|(loss, slowest)| format!("{:.1} s {loss}", slowest.as_secs_f64()));
        writeln!(f, "all quiet within  {}", slowest.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "acts              {}", listed(acts))?;
        writeln!(f, "broker's faults   {}", listed(struck))?;
        writeln!(f, "\n{:<50} {:>10} {:>10}", "fail-point", "reached", "deadly")?;
        for (point, (reached, deadly)) in points {
            writeln!(f, "{point:<50} {reached:>10} {deadly:>10}")?;
        }
        for point in self.never_reached() {
            writeln!(f, "{point:<50} {:>10}", "never")?;
        }
        for Failure { seed, what, shortest } in failures {
            writeln!(f, "\nseed {seed} fails, also with {} of its acts:", shortest.acts.len())?;
            what.iter().take(5).try_for_each(|what| writeln!(f, "  {what}"))?;
        }
        Ok(())
    }
}

fn listed<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}
