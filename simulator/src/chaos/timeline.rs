//! What happened when: one line a fault, printed once everything that was pending at its end is settled.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::fault::{Fault, Kind, target_word};

#[derive(Debug, Clone)]
pub struct Entry {
    /// When it began, counted from the start of the load.
    pub at: Duration,
    pub fault: Fault,
    /// Accepted orders that were not settled when it began.
    pub pending: usize,
    /// From its begin until it was mended: for a kill until the killed were ready again.
    pub lasted: Duration,
    /// From its end until all orders that were pending then were settled; `None`: not within the run.
    pub recovery: Option<Duration>,
    /// How many messages it sent, where it sends any.
    pub messages: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct Timeline {
    pub entries: Vec<Entry>,
}

/// How much happened; the kills of a part count only if enough orders were pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub kills: BTreeMap<&'static str, usize>,
    /// Kills that fewer orders than the minimum were pending at.
    pub idle_kills: usize,
    /// Times that a service was cut off from the broker.
    pub partitions: usize,
    pub wipes: usize,
    pub duplicates: usize,
    /// Messages that can never succeed.
    pub poison: usize,
    /// Of them, those with a malformed header block.
    pub malformed: usize,
    /// Requests of the observer with a harmful reply subject.
    pub attacks: usize,
    /// Faults of a service's surroundings, by their words.
    pub others: BTreeMap<&'static str, usize>,
}

impl Counts {
    pub fn kills_of(&self, part: &str) -> usize {
        self.kills.get(part).copied().unwrap_or_default()
    }

    pub fn others_of(&self, word: &str) -> usize {
        self.others.get(word).copied().unwrap_or_default()
    }
}

impl Timeline {
    /// Counts what happened; `min_pending` tells a kill that hit something from one that did not.
    pub fn counts(&self, min_pending: usize) -> Counts {
        let mut counts = Counts::default();
        for entry in &self.entries {
            let (kind, messages) = (entry.fault.kind, entry.messages.unwrap_or_default());
            match kind {
                Kind::Kill if entry.pending < min_pending => counts.idle_kills += entry.fault.targets.len(),
                Kind::Kill => {
                    for part in &entry.fault.targets {
                        *counts.kills.entry(target_word(*part)).or_default() += 1;
                    }
                }
                Kind::Wipe => counts.wipes += 1,
                Kind::Duplicate => counts.duplicates += messages,
                Kind::Poison => counts.poison += messages,
                Kind::Malformed => {
                    counts.poison += messages;
                    counts.malformed += messages;
                }
                Kind::Attack => counts.attacks += messages,
                _ if kind.is_partition() => counts.partitions += entry.fault.targets.len(),
                _ if kind.is_of_surroundings() => {
                    *counts.others.entry(kind.word()).or_default() += entry.fault.targets.len();
                }
                _ => {}
            }
        }
        counts
    }

    /// The longest time from the end of a fault until all that was pending then was settled.
    pub fn worst_recovery(&self) -> Option<Duration> {
        self.entries.iter().filter_map(|entry| entry.recovery).max()
    }
}

impl Entry {
    pub fn json(&self) -> Value {
        let targets: Vec<&str> = self.fault.targets.iter().map(|part| target_word(*part)).collect();
        json!({
            "atMs": millis(self.at), "fault": self.fault.kind.word(), "targets": targets,
            "pending": self.pending, "lastedMs": millis(self.lasted),
            "recoveryMs": self.recovery.map(millis), "messages": self.messages,
        })
    }
}

/// A duration in milliseconds, as reports give it.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let fault = self.fault.to_string();
        write!(f, "{:7.2} s  {fault:<41} {:6} pending", self.at.as_secs_f64(), self.pending)?;
        write!(f, "  lasted {:5.2} s", self.lasted.as_secs_f64())?;
        match self.recovery {
            Some(recovery) => write!(f, "  settled {:5.2} s later", recovery.as_secs_f64())?,
            None => write!(f, "  NOT SETTLED")?,
        }
        match self.messages {
            Some(messages) => write!(f, "  {messages} messages"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fault: &str, pending: usize) -> Entry {
        let wanted: super::super::fault::Wanted = fault.parse().unwrap();
        Entry {
            at: Duration::from_millis(12_340),
            fault: wanted.fault,
            pending,
            lasted: Duration::from_millis(400),
            recovery: Some(Duration::from_millis(120)),
            messages: None,
        }
    }

    #[test]
    fn kills_count_for_each_part_and_only_with_enough_orders_pending() {
        let mut timeline = Timeline::default();
        timeline.entries.extend([
            entry("kill:order+broker", 100),
            entry("kill:order", 99),
            entry("kill:order", 500),
        ]);
        timeline.entries.extend([entry("cut:order", 0), entry("stall-to-broker", 0), entry("wipe", 0)]);
        let counts = timeline.counts(100);
        assert_eq!(counts.kills, BTreeMap::from([("broker", 1), ("order", 2)]));
        assert_eq!((counts.idle_kills, counts.partitions, counts.wipes), (1, 3, 1));
    }

    #[test]
    fn a_line_tells_when_what_whom_how_many_and_how_long() {
        let line = entry("kill:order+inventory", 143).to_string();
        for part in
            ["12.34 s", "kill", "order+inventory", "143 pending", "lasted  0.40 s", "settled  0.12 s later"]
        {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
}
