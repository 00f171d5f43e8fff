//! What became of each order that was sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Deserialize;

/// How an order ended, as the services write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Not settled yet.
    Created,
    /// Stock is held for it.
    Confirmed,
    /// Refused by the inventory.
    Cancelled,
}

/// The counts of one run; times are kept in microseconds.
pub(super) struct Tally {
    /// When the first POST was sent.
    pub(super) started: Instant,
    pub(super) accepted: u64,
    /// Answers other than 201, by status code.
    pub(super) refused: BTreeMap<u16, u64>,
    /// POSTs without an answer: nobody knows whether they were stored.
    pub(super) unknown: u64,
    pub(super) confirmed: u64,
    pub(super) cancelled: u64,
    /// From POST to 201.
    pub(super) post: Histogram<u64>,
    /// From POST to settled.
    pub(super) settle: Histogram<u64>,
    /// When each order was sent that is accepted and not settled.
    pub(super) open: HashMap<String, Instant>,
    /// Settled before the 201 was read, or never accepted as far as we know.
    early: HashMap<String, (Status, Instant)>,
    /// The order that was settled last, and when.
    pub(super) last: Option<(String, Instant)>,
}

/// A tally that workers and watchers share.
#[derive(Clone)]
pub(super) struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    pub(super) fn shared() -> SharedTally {
        SharedTally(Arc::new(Mutex::new(Self::new())))
    }

    fn new() -> Self {
        Self {
            started: Instant::now(),
            accepted: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            confirmed: 0,
            cancelled: 0,
            post: histogram(),
            settle: histogram(),
            open: HashMap::new(),
            early: HashMap::new(),
            last: None,
        }
    }

    /// A 201 for a POST that was sent at `sent`.
    pub(super) fn accept(&mut self, id: String, sent: Instant) {
        self.accepted += 1;
        self.post.saturating_record(micros(sent, Instant::now()));
        match self.early.remove(&id) {
            Some((status, at)) => self.count(id, status, sent, at),
            None => {
                self.open.insert(id, sent);
            }
        }
    }

    /// An answer other than 201.
    pub(super) fn refuse(&mut self, status: u16) {
        *self.refused.entry(status).or_default() += 1;
    }

    /// News of an order. Repeats change nothing.
    pub(super) fn settle(&mut self, id: String, status: Status, at: Instant) {
        if status == Status::Created {
            return;
        }
        match self.open.remove(&id) {
            Some(sent) => self.count(id, status, sent, at),
            None if self.last.as_ref().is_some_and(|(last, _)| *last == id) => {}
            None => {
                self.early.insert(id, (status, at));
            }
        }
    }

    /// How many accepted orders are settled.
    pub(super) fn settled(&self) -> u64 {
        self.confirmed + self.cancelled
    }

    fn count(&mut self, id: String, status: Status, sent: Instant, at: Instant) {
        match status {
            Status::Cancelled => self.cancelled += 1,
            _ => self.confirmed += 1,
        }
        self.settle.saturating_record(micros(sent, at));
        if self.last.as_ref().is_none_or(|(_, latest)| *latest <= at) {
            self.last = Some((id, at));
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

    #[test]
    fn an_order_settled_before_its_201_is_read_counts_once() {
        let mut tally = Tally::new();
        let sent = Instant::now();
        tally.settle("a".to_owned(), Status::Confirmed, sent + Duration::from_millis(2));
        assert_eq!(tally.settled(), 0);
        tally.accept("a".to_owned(), sent);
        tally.settle("a".to_owned(), Status::Confirmed, sent + Duration::from_millis(9));
        assert_eq!((tally.accepted, tally.settled(), tally.open.len()), (1, 1, 0));
        assert!((1_990..=2_010).contains(&tally.settle.max()), "{}", tally.settle.max());
    }

    #[test]
    fn an_order_that_is_still_created_stays_open() {
        let mut tally = Tally::new();
        tally.accept("a".to_owned(), Instant::now());
        tally.settle("a".to_owned(), Status::Created, Instant::now());
        assert_eq!((tally.settled(), tally.open.len()), (0, 1));
        tally.settle("a".to_owned(), Status::Cancelled, Instant::now());
        assert_eq!((tally.cancelled, tally.open.len()), (1, 0));
    }
}
