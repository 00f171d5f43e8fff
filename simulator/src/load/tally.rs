//! What became of each order that was sent, as a count that anybody may read at any time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;
use shared::contract::status::Status;

/// The counts of one run; times are kept in microseconds.
#[derive(Clone)]
pub(super) struct Tally {
    /// When the first POST was sent.
    pub(super) started: Instant,
    pub(super) totals: Totals,
    /// The refused orders by status code.
    pub(super) refused: BTreeMap<u16, u64>,
    /// Orders that were given up before any connection could be made.
    pub(super) unsent: u64,
    /// Of the settled orders.
    pub(super) cancelled: u64,
    /// From the intended start to the 201.
    pub(super) post: Histogram<u64>,
    /// From the intended start to settled.
    pub(super) settle: Histogram<u64>,
    pub(super) open: HashMap<String, Open>,
    /// Settled before the 201 was read, or never accepted as far as we know.
    early: HashMap<String, (Status, Instant)>,
    /// The order that was settled last, its user, and when.
    pub(super) last: Option<(String, usize, Instant)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    /// When it was meant to be sent.
    pub(super) due: Instant,
    pub(super) accepted: Instant,
    pub(super) user: usize,
}

/// What clients were told so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub accepted: u64,
    /// Of them, seen settled.
    pub settled: u64,
    /// Orders of which nobody knows at present whether they were stored.
    pub unknown: u64,
    /// Orders whose outcome was unknown until their key was repeated.
    pub resolved: u64,
    /// Orders that were refused, such as with 503, and so not stored.
    pub refused: u64,
}

/// A tally that callers, watchers and those who look on share.
#[derive(Clone)]
pub struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Tally::new())))
    }

    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Orders that were answered 201 and were not seen settled yet.
    pub fn pending(&self) -> usize {
        self.lock().open.len()
    }

    /// Their ids.
    pub fn open(&self) -> HashSet<String> {
        self.lock().open.keys().cloned().collect()
    }

    /// Removes from `ids` what is settled by now.
    pub fn keep_open(&self, ids: &mut HashSet<String>) {
        let tally = self.lock();
        ids.retain(|id| tally.open.contains_key(id));
    }

    /// The order that was seen settled last, and the number of its user.
    pub fn last_settled(&self) -> Option<(String, usize)> {
        self.lock().last.as_ref().map(|(id, user, _)| (id.clone(), *user))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            totals: Totals::default(),
            refused: BTreeMap::new(),
            unsent: 0,
            cancelled: 0,
            post: histogram(),
            settle: histogram(),
            open: HashMap::new(),
            early: HashMap::new(),
            last: None,
        }
    }

    /// A 201, and the order's status in it: a repeated key may show an order that is settled already.
    pub(super) fn accept(&mut self, id: String, status: Status, open: Open) {
        self.totals.accepted += 1;
        self.post.saturating_record(micros(open.due, open.accepted));
        let settled = (status != Status::Created).then_some((status, open.accepted));
        match self.early.remove(&id).or(settled) {
            Some((status, at)) => self.count(id, status, open, at),
            None => {
                self.open.insert(id, open);
            }
        }
    }

    pub(super) fn refuse(&mut self, status: u16) {
        self.totals.refused += 1;
        *self.refused.entry(status).or_default() += 1;
    }

    /// News of an order. Repeats change nothing.
    pub(super) fn settle(&mut self, id: String, status: Status, at: Instant) {
        if status == Status::Created {
            return;
        }
        match self.open.remove(&id) {
            Some(open) => self.count(id, status, open, at),
            None if self.last.as_ref().is_some_and(|(last, ..)| *last == id) => {}
            None => {
                self.early.insert(id, (status, at));
            }
        }
    }

    fn count(&mut self, id: String, status: Status, open: Open, at: Instant) {
        self.totals.settled += 1;
        self.cancelled += u64::from(status == Status::Cancelled);
        self.settle.saturating_record(micros(open.due, at));
        if self.last.as_ref().is_none_or(|(.., latest)| *latest <= at) {
            self.last = Some((id, open.user, at));
        }
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros().try_into().unwrap_or(u64::MAX)
}

/// Up to an hour, with three significant digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(3_600_000_000, 3).expect("the bounds are constants that hdrhistogram accepts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sent(due: Instant) -> Open {
        Open { due, accepted: due + Duration::from_millis(1), user: 0 }
    }

    #[test]
    fn an_order_settled_before_its_201_is_read_counts_once() {
        let mut tally = Tally::new();
        let due = Instant::now();
        tally.settle("a".to_owned(), Status::Confirmed, due + Duration::from_millis(2));
        assert_eq!(tally.totals.settled, 0);
        tally.accept("a".to_owned(), Status::Created, sent(due));
        tally.settle("a".to_owned(), Status::Confirmed, due + Duration::from_millis(9));
        assert_eq!((tally.totals.accepted, tally.totals.settled, tally.open.len()), (1, 1, 0));
        assert!((1_990..=2_010).contains(&tally.settle.max()), "{}", tally.settle.max());
    }

    #[test]
    fn an_order_that_is_still_created_stays_open() {
        let mut tally = Tally::new();
        tally.accept("a".to_owned(), Status::Created, sent(Instant::now()));
        tally.settle("a".to_owned(), Status::Created, Instant::now());
        assert_eq!((tally.totals.settled, tally.open.len()), (0, 1));
        tally.settle("a".to_owned(), Status::Cancelled, Instant::now());
        assert_eq!((tally.cancelled, tally.open.len()), (1, 0));
    }

    #[test]
    fn a_repeated_key_that_shows_a_settled_order_leaves_nothing_open() {
        let mut tally = Tally::new();
        tally.accept("a".to_owned(), Status::Cancelled, sent(Instant::now()));
        assert_eq!((tally.totals.accepted, tally.cancelled, tally.open.len()), (1, 1, 0));
    }
}
