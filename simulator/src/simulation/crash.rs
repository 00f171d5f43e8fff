//! Crashes at fail-points: whoever reaches one that is armed dies there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use shared::fail_point;

use super::executor::Crash;

/// The fail-points that the services reach without HTTP.
pub const POINTS: [&str; 21] = [
    "consumer: acked",
    "consumer: committed, not acked",
    "consumer: decided, not committed",
    "consumer: pulled, nothing decided",
    "consumer: reset done",
    "consumer: reset noted, not done",
    "identity: generation committed, not at the broker",
    "orders: committed, not answered",
    "orders: written, not committed",
    "redrive: committed, not answered",
    "redrive: handled, not committed",
    "relay: PubAcks seen, rows not deleted",
    "relay: delete committed",
    "relay: published, no PubAck seen",
    "relay: rows deleted, not committed",
    "relay: rows read, nothing published",
    "relay: stream noted, nothing published",
    "sweeper: loss committed, nothing swept",
    "sweeper: loss noticed, not committed",
    "sweeper: sweep committed",
    "sweeper: swept, not committed",
];

/// One of [`POINTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Point(pub &'static str);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let point = POINTS.into_iter().find(|point| *point == name);
        point.map(Self).ok_or_else(|| D::Error::custom(format_args!("{name:?} is no fail-point")))
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    armed: BTreeSet<Point>,
    /// How often each point was reached, and at how many of these times somebody died.
    counts: Counts,
}

/// How often each point was reached, and how often it was deadly.
pub type Counts = BTreeMap<&'static str, (u64, u64)>;

/// Forgets what is armed, on this thread.
pub fn begin() {
    fail_point::hook(reach);
    disarm();
}

/// Whoever reaches this point next dies there.
pub fn arm(point: Point) {
    STATE.with_borrow_mut(|state| state.armed.insert(point));
}

pub fn disarm() {
    STATE.with_borrow_mut(|state| state.armed.clear());
}

/// What was counted since this was asked last.
pub fn take_counts() -> Counts {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.counts))
}

fn reach(name: &'static str) {
    let is_deadly = STATE.with_borrow_mut(|state| {
        let is_deadly = state.armed.remove(&Point(name));
        let (reached, deadly) = state.counts.entry(name).or_default();
        *reached += 1;
        *deadly += u64::from(is_deadly);
        is_deadly
    });
    if is_deadly {
        // Without the message of a panic.
        resume_unwind(Box::new(Crash));
    }
}
