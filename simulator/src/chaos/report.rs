//! What a run found: counts, violations, and one verdict.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::timeline::{Counts, Entry, Timeline};
use crate::check;
use crate::load::Totals;

#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub duration: Duration,
    pub timeline: Timeline,
    pub counts: Counts,
    pub totals: Totals,
    /// From the last fault until nothing was under way; `None`: that did not happen.
    pub recovery: Option<Duration>,
    /// The audit; `None`: the databases could not be read.
    pub audit: Option<check::Report>,
    /// What must not be, beside the audit's invariants.
    pub violations: Vec<String>,
    /// What the run should have done and did not.
    pub shortfalls: Vec<String>,
    /// Faults that this machine cannot have, and why.
    pub skipped: Vec<String>,
    /// Logs, databases and answers, where they are kept.
    pub kept: Option<PathBuf>,
}

impl Report {
    pub fn has_passed(&self) -> bool {
        self.reasons().is_empty()
    }

    /// `PASSED`, or `FAILED` and all that is wrong in one line.
    pub fn verdict(&self) -> String {
        match self.reasons().as_slice() {
            [] => "PASSED".to_owned(),
            reasons => format!("FAILED: {}", reasons.join("; ")),
        }
    }

    fn reasons(&self) -> Vec<String> {
        let violated = self.audit.iter().flat_map(|audit| audit.violated());
        let violated = violated.map(|finding| format!("{} ({})", finding.name, finding.violations.count));
        violated.chain([&self.violations, &self.shortfalls].into_iter().flatten().cloned()).collect()
    }

    pub fn json(&self) -> Value {
        let timeline: Vec<Value> = self.timeline.entries.iter().map(Entry::json).collect();
        json!({
            "verdict": self.verdict(), "seed": self.seed, "durationMs": self.duration.as_millis(),
            "orders": self.totals, "counts": self.counts, "timeline": timeline,
            "worstRecoveryMs": self.timeline.worst_recovery().map(|recovery| recovery.as_millis()),
            "endRecoveryMs": self.recovery.map(|recovery| recovery.as_millis()), "audit": self.audit,
            "violations": self.violations, "shortfalls": self.shortfalls, "skipped": self.skipped, "kept": self.kept,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Totals { accepted, settled, unknown, .. } = self.totals;
        let Counts { idle_kills, partitions, wipes, duplicates, poison, malformed, attacks, .. } =
            self.counts;
        let all_kills: usize = self.counts.kills.values().sum();
        let (kills, others) = (listed(&self.counts.kills), listed(&self.counts.others));
        writeln!(f, "\nseed              {}, load for {} s", self.seed, self.duration.as_secs())?;
        writeln!(f, "accepted          {accepted}")?;
        writeln!(f, "settled           {settled}")?;
        writeln!(f, "unknown outcome   {unknown}")?;
        writeln!(f, "kills             {all_kills} ({kills})")?;
        writeln!(f, "idle kills        {idle_kills}")?;
        writeln!(f, "partitions        {partitions}")?;
        writeln!(f, "broker wipes      {wipes}")?;
        writeln!(f, "duplicates        {duplicates}")?;
        writeln!(f, "poison            {poison}, {malformed} of them with malformed headers")?;
        writeln!(f, "attacks           {attacks} requests")?;
        writeln!(f, "other faults      {others}")?;
        for skipped in &self.skipped {
            writeln!(f, "skipped           {skipped}")?;
        }
        writeln!(f, "worst recovery    {}", seconds(self.timeline.worst_recovery()))?;
        writeln!(f, "all settled       {} after the load", seconds(self.recovery))?;
        if let Some(audit) = &self.audit {
            writeln!(f, "\n{audit}")?;
        }
        for violation in &self.violations {
            writeln!(f, "violation: {violation}")?;
        }
        if let Some(folder) = &self.kept {
            writeln!(f, "logs and databases are kept in {}", folder.display())?;
        }
        writeln!(f, "{}", self.verdict())
    }
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or("never".to_owned(), |duration| format!("{:.2} s", duration.as_secs_f64()))
}

fn listed(counts: &BTreeMap<&str, usize>) -> String {
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    counts.join(", ")
}
