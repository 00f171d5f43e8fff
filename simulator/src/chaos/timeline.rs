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
    /// Kills at which too few orders were pending.
    pub idle_kills: usize,
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

impl Timeline {
    /// Counts what happened; `min_pending` tells a kill that hit something from one that did not.
    pub fn counts(&self, min_pending: usize) -> Counts {
        let mut counts = Counts::default();
        for entry in &self.entries {
            let Fault { kind, targets, .. } = &entry.fault;
            let messages = entry.messages.unwrap_or_default();
            match kind {
                Kind::Kill if entry.pending < min_pending => counts.idle_kills += targets.len(),
                Kind::Kill => {
                    for part in targets {
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
                _ if kind.is_partition() => counts.partitions += targets.len(),
                _ if kind.is_of_surroundings() => {
                    *counts.others.entry(kind.word()).or_default() += targets.len();
                }
                _ => {}
            }
        }
        counts
    }

    /// `None` where one of them was not recovered from, or there was none.
    pub fn worst_recovery(&self) -> Option<Duration> {
        let recoveries = self.entries.iter().map(|entry| entry.recovery).collect::<Option<Vec<_>>>()?;
        recoveries.into_iter().max()
    }
}

impl Entry {
    /// What is violated where orders that were pending at its end were not settled in time.
    pub fn not_recovered(&self) -> Option<String> {
        let (kind, at) = (self.fault.kind.word(), self.at.as_secs_f64());
        let whose = if self.fault.kind.is_messages() { "orders of others" } else { "orders" };
        let text =
            || format!("{kind} at {at:.1} s: {whose} waited too long for it, and were not seen settled");
        self.recovery.is_none().then(text)
    }

    pub fn json(&self) -> Value {
        json!({
            "atMs": self.at.as_millis(), "fault": self.fault.kind.word(), "targets": self.fault.target_words(),
            "pending": self.pending, "lastedMs": self.lasted.as_millis(),
            "recoveryMs": self.recovery.map(|recovery| recovery.as_millis()), "messages": self.messages,
        })
    }
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
        self.messages.map_or(Ok(()), |messages| write!(f, "  {messages} messages"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::fault::Wanted;

    fn entry(fault: &str, pending: usize) -> Entry {
        Entry {
            at: Duration::from_millis(12_340),
            fault: fault.parse::<Wanted>().unwrap().fault,
            pending,
            lasted: Duration::from_millis(400),
            recovery: Some(Duration::from_millis(120)),
            messages: None,
        }
    }

    #[test]
    fn kills_count_for_each_part_and_only_with_enough_orders_pending() {
        let kills = [entry("kill:order+broker", 100), entry("kill:order", 99), entry("kill:order", 500)];
        let others = [entry("cut:order", 0), entry("stall-to-broker", 0), entry("wipe", 0)];
        let counts = Timeline { entries: [kills, others].concat() }.counts(100);
        assert_eq!(counts.kills, BTreeMap::from([("broker", 1), ("order", 2)]));
        assert_eq!((counts.idle_kills, counts.partitions, counts.wipes), (1, 3, 1));
    }

    #[test]
    fn a_fault_that_nothing_recovered_from_is_a_violation_and_not_left_out_of_the_worst_recovery() {
        let never = Entry { recovery: None, ..entry("cut:order", 100) };
        let timeline = Timeline { entries: vec![entry("kill:order", 100), never.clone()] };
        assert_eq!(timeline.worst_recovery(), None, "one of them was never recovered from");
        assert!(never.not_recovered().unwrap().starts_with("cut at 12.3 s: orders waited"));
        let timeline = Timeline { entries: vec![entry("kill:order", 100)] };
        assert_eq!(timeline.worst_recovery(), Some(Duration::from_millis(120)));
        assert_eq!(timeline.entries[0].not_recovered(), None);
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
