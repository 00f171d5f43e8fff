//! Named runs, and the least that each must have done: a run that hit nothing proves nothing.

use std::time::Duration;

use clap::ValueEnum;

use super::fault::{KINDS, Kind};
use super::surroundings::clocks_can_move;
use super::timeline::Counts;

/// A run with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// About two minutes, for every change
    Ci,
    /// Half an hour with hundreds of kills
    Long,
}

/// The least that must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimums {
    /// Accepted orders.
    pub accepted: u64,
    /// Kills with enough orders pending.
    pub kills: usize,
    /// Of them, for each of the three processes.
    pub kills_of_each: usize,
    /// Times that a service was cut off from the broker.
    pub partitions: usize,
    /// Wipes of the broker.
    pub wipes: usize,
    /// Messages published again.
    pub duplicates: usize,
    /// Messages that can never succeed.
    pub poison: usize,
    /// Of them, those with a malformed header block.
    pub malformed: usize,
    /// Requests of the observer with a harmful reply subject.
    pub attacks: usize,
    /// Faults of each kind that hits a service's surroundings.
    pub others_of_each: usize,
}

impl Preset {
    /// How long the load runs.
    pub fn duration(self) -> Duration {
        match self {
            Self::Ci => Duration::from_secs(140),
            Self::Long => Duration::from_secs(30 * 60),
        }
    }

    /// Orders per second. In half an hour databases, stream and answers then stay below 3 GB.
    pub fn rate(self) -> u32 {
        match self {
            Self::Ci => 800,
            Self::Long => 600,
        }
    }

    /// The least that a run of `duration` must have done.
    pub fn minimums(self, duration: Duration) -> Minimums {
        let usual = match self {
            Self::Ci => Minimums {
                accepted: 50_000,
                kills: 20,
                kills_of_each: 5,
                partitions: 2,
                wipes: 1,
                duplicates: 100,
                poison: 10,
                malformed: 12,
                attacks: 50,
                others_of_each: 1,
            },
            Self::Long => Minimums {
                accepted: 500_000,
                kills: 300,
                kills_of_each: 80,
                partitions: 30,
                wipes: 12,
                duplicates: 3_000,
                poison: 200,
                malformed: 200,
                attacks: 1_000,
                others_of_each: 15,
            },
        };
        usual.scaled(duration.as_secs_f64() / self.duration().as_secs_f64())
    }
}

impl Minimums {
    fn scaled(self, share: f64) -> Self {
        let scale = |count: usize| (count as f64 * share).floor() as usize;
        Self {
            accepted: (self.accepted as f64 * share).floor() as u64,
            kills: scale(self.kills),
            kills_of_each: scale(self.kills_of_each),
            partitions: scale(self.partitions),
            wipes: scale(self.wipes),
            duplicates: scale(self.duplicates),
            poison: scale(self.poison),
            malformed: scale(self.malformed),
            attacks: scale(self.attacks),
            others_of_each: scale(self.others_of_each),
        }
    }

    /// What was not reached, each with its number.
    pub fn shortfalls(&self, counts: &Counts, accepted: u64) -> Vec<String> {
        let kills = counts.kills.values().sum();
        let least = |word| counts.kills.get(word).copied().unwrap_or_default();
        let wanted = [
            ("accepted orders", accepted as usize, self.accepted as usize),
            ("kills with enough orders pending", kills, self.kills),
            ("of them of the order service", least("order"), self.kills_of_each),
            ("of them of the inventory service", least("inventory"), self.kills_of_each),
            ("of them of the broker", least("broker"), self.kills_of_each),
            ("partitions", counts.partitions, self.partitions),
            ("wipes of the broker", counts.wipes, self.wipes),
            ("duplicates", counts.duplicates, self.duplicates),
            ("poison messages", counts.poison, self.poison),
            ("messages with malformed headers", counts.malformed, self.malformed),
            ("hostile requests", counts.attacks, self.attacks),
        ];
        let others = surroundings()
            .map(|word| (word, counts.others.get(word).copied().unwrap_or_default(), self.others_of_each));
        let short = wanted.into_iter().chain(others).filter(|(_, found, least)| found < least);
        short.map(|(what, found, least)| format!("{found} {what} instead of at least {least}")).collect()
    }
}

/// The words of the faults that hit a service's surroundings, as far as this machine can have them.
fn surroundings() -> impl Iterator<Item = &'static str> {
    let possible = |kind: Kind| kind != Kind::Clock || clocks_can_move();
    KINDS
        .into_iter()
        .filter(move |(kind, _)| kind.is_of_surroundings() && possible(*kind))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_was_not_reached_is_named_with_its_number() {
        let minimums = Preset::Ci.minimums(Preset::Ci.duration());
        let kills = BTreeMap::from([("order", 10), ("inventory", 6), ("broker", 4)]);
        let counts = Counts {
            kills,
            partitions: 2,
            wipes: 1,
            duplicates: 100,
            poison: 12,
            malformed: 12,
            attacks: 50,
            others: surroundings().map(|word| (word, 1)).collect(),
            ..Counts::default()
        };
        assert_eq!(minimums.shortfalls(&counts, 50_000), ["4 of them of the broker instead of at least 5"]);
        assert_eq!(
            minimums.shortfalls(&counts, 49_999)[0],
            "49999 accepted orders instead of at least 50000"
        );
    }

    #[test]
    fn a_shorter_run_has_to_do_less() {
        let short = Preset::Long.minimums(Duration::from_secs(180));
        assert_eq!((short.accepted, short.kills, short.others_of_each), (50_000, 30, 1));
    }
}
