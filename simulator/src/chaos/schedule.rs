//! When each fault begins. The same seed and duration give the same schedule, on every machine.

use std::time::Duration;

use fastrand::Rng;

use super::fault::{Fault, Kind, Wanted};
use crate::topology::Part;

/// No fault begins before: the load has to be under way.
const FIRST: Duration = Duration::from_secs(2);

/// One round of a random schedule brings every fault of [`ROUND`]; a shorter run brings a part of it.
const ROUND_LENGTH: Duration = Duration::from_secs(140);

const ORDER: &[Part] = &[Part::Order];
const INVENTORY: &[Part] = &[Part::Inventory];
const BROKER: &[Part] = &[Part::Broker];
const SERVICES: &[Part] = &[Part::Order, Part::Inventory];
const INVENTORY_SIDE: &[Part] = &[Part::Inventory, Part::Broker];
const ALL: &[Part] = &Part::IN_START_ORDER;
const NOBODY: &[Part] = &[];

/// How many faults of each kind a round has for each of these targets: 27 kills among them.
const ROUND: [(Kind, usize, &[&[Part]]); 20] = [
    (Kind::Kill, 7, &[ORDER, INVENTORY]),
    (Kind::Kill, 6, &[BROKER]),
    (Kind::Kill, 1, &[SERVICES, INVENTORY_SIDE, ALL]),
    (Kind::Cut, 1, &[ORDER, INVENTORY]),
    (Kind::StallToBroker, 1, &[INVENTORY]),
    (Kind::StallFromBroker, 1, &[ORDER]),
    (Kind::Slow, 1, &[SERVICES]),
    (Kind::Reset, 1, &[SERVICES]),
    (Kind::Pause, 1, &[ORDER, INVENTORY, BROKER]),
    (Kind::Restart, 1, &[ORDER, INVENTORY]),
    (Kind::Wipe, 1, &[NOBODY]),
    (Kind::Duplicate, 3, &[NOBODY]),
    (Kind::Poison, 3, &[NOBODY]),
    (Kind::Malformed, 2, &[NOBODY]),
    (Kind::Attack, 2, &[NOBODY]),
    (Kind::LogGone, 1, &[ORDER, INVENTORY]),
    (Kind::MoveDatabase, 1, &[ORDER, INVENTORY]),
    (Kind::Clock, 1, &[ORDER, INVENTORY]),
    (Kind::Lock, 1, &[ORDER, INVENTORY]),
    (Kind::Panic, 2, &[ORDER, INVENTORY]),
];

/// A fault and when it begins, counted from the start of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The earliest moment: a fault that takes longer than planned puts off the next one.
    pub at: Duration,
    pub fault: Fault,
}

/// Faults for a run of `duration`, in the order of their time.
pub fn random(seed: u64, duration: Duration) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let rounds = duration.as_secs_f64() / ROUND_LENGTH.as_secs_f64();
    let mut faults = Vec::new();
    for _ in 0..rounds.ceil() as usize {
        let mut round: Vec<(Kind, &[Part])> = Vec::new();
        for (kind, count, targets) in ROUND {
            round.extend(targets.iter().flat_map(|parts| vec![(kind, *parts); count]));
        }
        rng.shuffle(&mut round);
        faults.extend(round);
    }
    let per_round = faults.len() as f64 / rounds.ceil().max(1.0);
    faults.truncate((per_round * rounds).round().max(1.0) as usize);
    let slot = duration.saturating_sub(FIRST).div_f64(faults.len() as f64);
    let planned = |(number, (kind, parts)): (usize, (Kind, &[Part]))| Planned {
        at: FIRST + slot.mul_f64(number as f64 + rng.f64() / 2.0),
        fault: Fault::new(kind, parts, length(kind, &mut rng)),
    };
    faults.into_iter().enumerate().map(planned).collect()
}

/// The faults that were asked for. Those without a time are spread evenly over `duration`.
pub fn wanted(wanted: &[Wanted], duration: Duration) -> Vec<Planned> {
    let slot = duration.saturating_sub(FIRST) / u32::try_from(wanted.len().max(1)).unwrap_or(u32::MAX);
    let planned = |(number, wanted): (usize, &Wanted)| Planned {
        at: wanted.at.unwrap_or(FIRST + slot.mul_f64(number as f64)),
        fault: wanted.fault.clone(),
    };
    let mut schedule: Vec<Planned> = wanted.iter().enumerate().map(planned).collect();
    schedule.sort_by_key(|planned| planned.at);
    schedule
}

/// How long a fault lasts until it is mended: within a round all of them fit.
fn length(kind: Kind, rng: &mut Rng) -> Duration {
    let milliseconds = match kind {
        Kind::Kill | Kind::Wipe => 0..600,
        Kind::Pause => 500..2_500,
        Kind::Cut => 3_000..6_000,
        Kind::StallToBroker | Kind::StallFromBroker => 2_000..4_000,
        Kind::Slow => 2_000..3_000,
        Kind::LogGone | Kind::Clock => 1_000..2_000,
        // Shorter and longer than a statement waits for a lock.
        Kind::Lock => 1_000..7_000,
        _ => return Duration::ZERO,
    };
    Duration::from_millis(rng.u64(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::fault::KINDS;

    const CI: Duration = ROUND_LENGTH;

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(random(1, CI), random(1, CI));
        assert_ne!(random(1, CI), random(2, CI));
    }

    #[test]
    fn one_round_holds_more_kills_than_the_ci_preset_asks_for_and_every_kind() {
        for seed in 0..20 {
            let schedule = random(seed, CI);
            let of = |kind| schedule.iter().filter(move |planned| planned.fault.kind == kind);
            assert_eq!(of(Kind::Kill).map(|planned| planned.fault.targets.len()).sum::<usize>(), 27);
            for (kind, word, ..) in KINDS {
                assert!(of(kind).count() > 0, "seed {seed} has no {word}");
            }
        }
    }

    #[test]
    fn faults_follow_each_other_within_the_run() {
        for (seconds, faults) in [(10, 4), (140, 57), (1800, 733)] {
            let schedule = random(7, Duration::from_secs(seconds));
            assert_eq!(schedule.len(), faults);
            assert!(schedule.is_sorted_by_key(|planned| planned.at));
            assert!(schedule.iter().all(|planned| planned.at >= FIRST && planned.at.as_secs() < seconds));
        }
    }

    #[test]
    fn wanted_faults_keep_their_time_and_the_others_are_spread() {
        let parse = |text: &str| text.parse::<Wanted>().unwrap();
        let schedule =
            wanted(&[parse("wipe"), parse("kill@1s:order"), parse("poison")], Duration::from_secs(11));
        let times: Vec<(u64, Kind)> =
            schedule.iter().map(|planned| (planned.at.as_secs(), planned.fault.kind)).collect();
        assert_eq!(times, [(1, Kind::Kill), (2, Kind::Wipe), (8, Kind::Poison)]);
    }
}
