//! Draws schedules from seeds.

use fastrand::Rng;

use super::crash::{POINTS, Point};
use super::model::fault::Fault;
use super::schedule::{Act, Schedule};
use super::timeline::Side;

/// How often something happens beside the others, and what.
type Kind = (usize, fn(&mut Rng, Side) -> Act);

/// What may happen without a loss of what the broker has acknowledged.
const HARMLESS: [Kind; 28] = [
    (6, |rng, _| Act::Repeat(rng.u16(..))),
    (3, |_, _| Act::Look),
    (3, |rng, _| Act::Restock { product: rng.u8(0..3), quantity: rng.u8(1..6) }),
    (2, |rng, _| Act::Count { product: rng.u8(0..3), stock: rng.u8(0..6) }),
    (1, |rng, _| Act::Pass(rng.u8(1..70))),
    (3, |rng, _| Act::Redrive(rng.u16(..))),
    (1, |rng, _| Act::Discard(rng.u16(..))),
    (3, |_, side| Act::Crash(side)),
    (8, |rng, _| Act::CrashAt(Point(POINTS[rng.usize(..POINTS.len())]))),
    (2, |_, side| Act::Stop(side)),
    (2, |rng, side| Act::Jump(side, rng.i16(-3000..3000))),
    (4, |rng, side| if rng.bool() { Act::Fill(side) } else { Act::Free(side) }),
    (4, |_, _| Act::Fault(Fault::PubAckLost)),
    (4, |_, _| Act::Fault(Fault::PublishLost)),
    (4, |_, _| Act::Fault(Fault::PublishedTwice)),
    (3, |_, _| Act::Fault(Fault::Reordered)),
    (4, |_, _| Act::Fault(Fault::AckLost)),
    (4, |_, _| Act::Fault(Fault::DeliveryLost)),
    (4, |_, _| Act::Fault(Fault::DeliveredTwice)),
    (3, |_, _| Act::Fault(Fault::CallFails)),
    (2, |_, _| Act::Fault(Fault::CallLate)),
    (2, |_, _| Act::Fault(Fault::StaleRead)),
    (3, |_, side| Act::Disconnect(side)),
    (3, |rng, _| if rng.bool() { Act::BrokerStops } else { Act::BrokerStarts }),
    (4, |rng, _| Act::Again(rng.u16(..))),
    (2, |rng, side| Act::Poison(side, rng.u8(0..4))),
    (1, |_, side| Act::DeleteConsumer(side)),
    // A key is kept for a day, by a clock that is at most 50 minutes off.
    (1, |rng, _| Act::NightOff(if rng.bool() { 22 } else { 26 })),
];

/// What loses something that was acknowledged, or brings back an older state.
const LOSSES: [Kind; 9] = [
    (3, |_, _| Act::Backup),
    (4, |_, _| Act::RestoreBackup),
    (2, |_, side| Act::SetAside(side)),
    (2, |rng, _| if rng.bool() { Act::CopyBroker } else { Act::RestoreBroker }),
    (2, |_, _| Act::Wipe),
    (6, |rng, _| Act::Truncate(rng.u8(1..5))),
    (2, |rng, _| Act::DiscardOldest(rng.u8(1..5))),
    // Reached after a loss only.
    (4, |rng, _| {
        let sweeping: Vec<_> = POINTS.into_iter().filter(|point| point.starts_with("sweeper: ")).collect();
        Act::CrashAt(Point(sweeping[rng.usize(..sweeping.len())]))
    }),
    // A message is kept for a week.
    (1, |_, _| Act::NightOff(170)),
];

impl Schedule {
    /// Draws so many acts. Which kinds of faults there are is drawn first, and half of the schedules have none that loses
    /// what was acknowledged: there the slow way of healing must not be needed.
    pub fn draw(seed: u64, acts: u32) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let losses: &[Kind] = if rng.bool() { &LOSSES } else { &[] };
        let mut kinds: Vec<fn(&mut Rng, Side) -> Act> = Vec::new();
        for (weight, kind) in HARMLESS.iter().chain(losses) {
            if rng.u8(0..3) > 0 {
                kinds.extend(std::iter::repeat_n(kind, *weight));
            }
        }
        let faults = rng.u8(2..14);
        let acts = (0..acts).map(|_| match rng.u8(0..100) {
            percent if percent < faults && !kinds.is_empty() => {
                let (kind, side) = (kinds[rng.usize(..kinds.len())], side(rng));
                kind(rng, side)
            }
            ..24 => Act::Place { user: rng.u8(0..3), product: rng.u8(0..3), quantity: rng.u8(1..4) },
            24..27 => Act::Start(side(rng)),
            27..31 => Act::Wait,
            _ => Act::Step(rng.u16(..)),
        });
        Self { seed, acts: acts.collect() }
    }
}

fn side(rng: &mut Rng) -> Side {
    Side::ALL[rng.usize(..2)]
}
