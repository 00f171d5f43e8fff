//! What a run found: counts, violations, and one verdict.

use std::fmt::{Display, Formatter, Result};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::timeline::{Counts, Timeline, millis};
use crate::check;
use crate::load::Totals;

#[derive(Debug)]
pub struct Report {
    /// The seed that makes the same schedule again.
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
        let mut reasons = Vec::new();
        if let Some(audit) = &self.audit {
            reasons.extend(
                audit.violated().map(|finding| format!("{} ({})", finding.name, finding.violations.count)),
            );
        }
        reasons.extend(self.violations.iter().cloned());
        reasons.extend(self.shortfalls.iter().cloned());
        reasons
    }

    pub fn json(&self) -> Value {
        let timeline: Vec<Value> = self.timeline.entries.iter().map(super::timeline::Entry::json).collect();
        json!({
            "verdict": self.verdict(), "seed": self.seed, "durationMs": millis(self.duration),
            "orders": self.totals, "counts": self.counts, "timeline": timeline,
            "worstRecoveryMs": self.timeline.worst_recovery().map(millis),
            "endRecoveryMs": self.recovery.map(millis), "audit": self.audit,
            "violations": self.violations, "shortfalls": self.shortfalls, "skipped": self.skipped, "kept": self.kept,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (totals, counts) = (&self.totals, &self.counts);
        let seconds = |duration: Option<Duration>| {
            duration.map_or("never".to_owned(), |duration| format!("{:.2} s", duration.as_secs_f64()))
        };
        let kills: Vec<String> = counts.kills.iter().map(|(part, count)| format!("{count} {part}")).collect();
        writeln!(f)?;
        writeln!(f, "seed              {}, load for {} s", self.seed, self.duration.as_secs())?;
        writeln!(f, "accepted          {}", totals.accepted)?;
        writeln!(f, "settled           {}", totals.settled)?;
        writeln!(f, "unknown outcome   {}", totals.unknown)?;
        writeln!(f, "kills             {} ({})", counts.kills.values().sum::<usize>(), kills.join(", "))?;
        writeln!(f, "idle kills        {}", counts.idle_kills)?;
        writeln!(f, "partitions        {}", counts.partitions)?;
        writeln!(f, "broker wipes      {}", counts.wipes)?;
        writeln!(f, "duplicates        {}", counts.duplicates)?;
        writeln!(
            f,
            "poison            {}, {} of them with malformed headers",
            counts.poison, counts.malformed
        )?;
        writeln!(f, "attacks           {} requests", counts.attacks)?;
        let others: Vec<String> =
            counts.others.iter().map(|(word, count)| format!("{count} {word}")).collect();
        writeln!(f, "other faults      {}", others.join(", "))?;
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
