//! Named runs, and the least that each must have done: a run that hit nothing proves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;

use super::fault::{KINDS, Kind};
use super::surroundings::faketime;
use super::timeline::Counts;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// About two minutes, for every change
    Ci,
    /// Half an hour with hundreds of kills
    Long,
}

/// What is counted, and the least of it in each preset.
type Wanted = (&'static str, fn(&Counts) -> usize, [usize; 2]);

const WANTED: [Wanted; 10] = [
    ("kills with enough orders pending", |counts| counts.kills.values().sum(), [20, 300]),
    ("of them of the order service", |counts| of(&counts.kills, "order"), [5, 80]),
    ("of them of the inventory service", |counts| of(&counts.kills, "inventory"), [5, 80]),
    ("of them of the broker", |counts| of(&counts.kills, "broker"), [5, 80]),
    ("partitions", |counts| counts.partitions, [2, 30]),
    ("wipes of the broker", |counts| counts.wipes, [1, 12]),
    ("duplicates", |counts| counts.duplicates, [100, 3_000]),
    ("poison messages", |counts| counts.poison, [10, 200]),
    ("messages with malformed headers", |counts| counts.malformed, [12, 200]),
    ("hostile requests", |counts| counts.attacks, [50, 1_000]),
];

const ACCEPTED: [usize; 2] = [50_000, 500_000];

/// Faults of each kind that hits a service's surroundings, at least.
const SURROUNDINGS: [usize; 2] = [1, 15];

impl Preset {
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

    /// What a run of `duration` has not reached, each with its number; a shorter run has to do less.
    pub fn shortfalls(self, duration: Duration, counts: &Counts, accepted: u64) -> Vec<String> {
        let share = duration.as_secs_f64() / self.duration().as_secs_f64();
        let orders = std::iter::once(("accepted orders", accepted as usize, ACCEPTED));
        let wanted = WANTED.iter().map(|(what, count, least)| (*what, count(counts), *least));
        let others = surroundings().map(|word| (word, of(&counts.others, word), SURROUNDINGS));
        let all = orders.chain(wanted).chain(others);
        all.filter_map(|(what, found, least)| {
            let least = (least[self as usize] as f64 * share).floor() as usize;
            (found < least).then(|| format!("{found} {what} instead of at least {least}"))
        })
        .collect()
    }
}

fn of(counts: &BTreeMap<&str, usize>, word: &str) -> usize {
    counts.get(word).copied().unwrap_or_default()
}

/// The faults that hit a service's surroundings, as far as this machine can have them.
fn surroundings() -> impl Iterator<Item = &'static str> {
    let possible = |kind: Kind| kind != Kind::Clock || faketime().is_some();
    let kinds = KINDS.into_iter().filter(move |(kind, ..)| kind.is_of_surroundings() && possible(*kind));
    kinds.map(|(_, word, ..)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reached_is_named_with_its_number() {
        let shortfalls = |counts, accepted| Preset::Ci.shortfalls(Preset::Ci.duration(), counts, accepted);
        let counts = Counts {
            kills: BTreeMap::from([("order", 10), ("inventory", 6), ("broker", 4)]),
            partitions: 2,
            wipes: 1,
            duplicates: 100,
            poison: 12,
            malformed: 12,
            attacks: 50,
            others: surroundings().map(|word| (word, 1)).collect(),
            ..Counts::default()
        };
        let (broker, accepted) = (
            "4 of them of the broker instead of at least 5",
            "49999 accepted orders instead of at least 50000",
        );
        assert_eq!(shortfalls(&counts, 50_000), [broker]);
        assert_eq!(shortfalls(&counts, 49_999), [accepted, broker]);
    }

    #[test]
    fn a_shorter_run_has_to_do_less() {
        let shortfalls = Preset::Long.shortfalls(Duration::from_secs(180), &Counts::default(), 0);
        for least in [
            "0 accepted orders instead of at least 50000",
            "0 kills with enough orders pending instead of at least 30",
            "0 lock instead of at least 1",
        ] {
            assert!(shortfalls.contains(&least.to_owned()), "{shortfalls:?}");
        }
    }
}
