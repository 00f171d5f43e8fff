//! The answers file, folded: one request per user and key, with what its caller knew in the end.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Result;
use shared::contract::status::Status;

use super::names::{Name, Names, OrderId, fingerprint};
use crate::answers;
use crate::answers::{Answer, Line, Outcome, Witness};

/// A key means one order for this long, in milliseconds; afterwards it may make another one.
pub(super) const KEY_LIFETIME_MS: i64 = 24 * 3600 * 1000;

#[derive(Debug, Default)]
pub struct Answered {
    /// Whether the file holds every order that these databases can hold: it says so, and has its end.
    pub complete: bool,
    /// One per user and key.
    pub requests: Vec<Request>,
    /// Keys that were answered with two orders within their lifetime.
    pub ambiguous: Vec<(Name, OrderId, OrderId)>,
    pub observed: Vec<Observed>,
    /// The lowest stock that was read of each product.
    pub lowest_stock: BTreeMap<Name, i64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub user: Name,
    pub key: u128,
    pub product: Name,
    pub quantity: i64,
    /// What the client knows in the end.
    pub fate: Fate,
    /// When the client knew it, in Unix milliseconds.
    pub at_ms: i64,
}

/// What became of a request as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Accepted(OrderId),
    Refused,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub struct Observed {
    pub order: OrderId,
    pub status: Status,
    pub by: Witness,
}

pub fn read(path: &Path, names: &mut Names) -> Result<Answered> {
    let (mut answered, mut index) = (Answered::default(), HashMap::new());
    let (mut header, mut count, mut ended) = (false, 0, false);
    for line in answers::read(path)? {
        match line? {
            Line::Header { complete } => header = complete,
            Line::Answer(answer) => answered.fold(answer, names, &mut index),
            Line::Observed { order_id, status, by } => {
                answered.observed.push(Observed { order: names.order(&order_id), status, by });
            }
            Line::Stock { product_id, stock } => {
                let lowest = answered.lowest_stock.entry(names.name(&product_id)).or_insert(stock);
                *lowest = stock.min(*lowest);
            }
            Line::End { lines } => ended = lines == count,
        }
        count += 1;
    }
    answered.complete = header && ended;
    Ok(answered)
}

impl Answered {
    /// Requests of which nobody knows whether they were stored.
    pub fn unknown_outcomes(&self) -> u64 {
        self.requests.iter().filter(|request| request.fate == Fate::Unknown).count() as u64
    }

    /// `index` tells where the request of a user and key is.
    fn fold(&mut self, answer: Answer, names: &mut Names, index: &mut HashMap<(Name, u128), usize>) {
        let request = Request::new(&answer, names);
        if let (Fate::Accepted(order), Outcome::Accepted { status, .. }) = (request.fate, answer.outcome)
            && status != Status::Created
        {
            // A 201 for a key may show an order that is settled already.
            self.observed.push(Observed { order, status, by: Witness::Order });
        }
        let slot = *index.entry((request.user, request.key)).or_insert(self.requests.len());
        let Some(before) = self.requests.get(slot).copied() else {
            self.requests.push(request);
            return;
        };
        let is_expired = request.at_ms.saturating_sub(before.at_ms) >= KEY_LIFETIME_MS;
        match (before.fate, request.fate) {
            (Fate::Accepted(first), Fate::Accepted(second)) if first == second => {}
            // A later refusal says that *it* stored nothing; an earlier POST with the key still may have.
            (Fate::Accepted(_) | Fate::Unknown, Fate::Refused) => {}
            // The key may have made another order since: each POST stands for one.
            (Fate::Accepted(_) | Fate::Unknown, _) if is_expired => {
                self.requests.push(before);
                self.requests[slot] = request;
            }
            (Fate::Accepted(first), Fate::Accepted(second)) => {
                self.ambiguous.push((request.user, first, second));
            }
            (Fate::Accepted(_), Fate::Unknown) | (Fate::Unknown, Fate::Unknown) => {}
            (Fate::Refused, _) | (Fate::Unknown, Fate::Accepted(_)) => self.requests[slot] = request,
        }
    }
}

impl Request {
    fn new(answer: &Answer, names: &mut Names) -> Self {
        let fate = match &answer.outcome {
            Outcome::Accepted { order_id, .. } => Fate::Accepted(names.order(order_id)),
            Outcome::Refused { .. } => Fate::Refused,
            Outcome::Unknown => Fate::Unknown,
        };
        Self {
            user: names.name(&answer.user),
            key: fingerprint(&answer.key),
            product: names.name(&answer.product_id),
            quantity: answer.quantity,
            fate,
            at_ms: answer.at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Coverage, Recorder};

    fn answer(at_ms: i64, outcome: Outcome) -> Line {
        let (user, key, product_id) = ("alice".to_owned(), "k".to_owned(), "1".to_owned());
        Line::Answer(Answer { at_ms, user, key, product_id, quantity: 1, outcome })
    }

    fn accepted(id: &str) -> Outcome {
        Outcome::Accepted { order_id: id.to_owned(), status: Status::Created }
    }

    fn folded(lines: &[Line]) -> Answered {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let recorder = Recorder::create(&path, Coverage::Complete).unwrap();
        lines.iter().for_each(|line| recorder.write(line));
        recorder.finish().unwrap();
        read(&path, &mut Names::default()).unwrap()
    }

    #[test]
    fn an_ambiguous_key_that_was_repeated_is_one_request_with_its_last_outcome() {
        let refused = Outcome::Refused { status: 503 };
        let answered = folded(&[answer(1, Outcome::Unknown), answer(2, refused.clone())]);
        assert_eq!(answered.requests.len(), 1);
        assert_eq!(answered.requests[0].fate, Fate::Unknown, "the first POST may have been stored");
        let answered = folded(&[answer(1, Outcome::Unknown), answer(2, refused), answer(3, accepted("a"))]);
        assert_eq!(answered.requests.len(), 1);
        assert!(matches!(answered.requests[0].fate, Fate::Accepted(_)));
        assert!(answered.complete);
    }

    #[test]
    fn two_orders_for_one_key_are_told_apart_from_a_key_that_expired() {
        let twice = |later| folded(&[answer(1, accepted("a")), answer(later, accepted("b"))]);
        assert_eq!(twice(2).ambiguous.len(), 1);
        let expired = twice(1 + KEY_LIFETIME_MS);
        assert_eq!((expired.ambiguous.len(), expired.requests.len()), (0, 2));
    }

    #[test]
    fn a_post_without_an_answer_and_another_one_after_its_key_expired_may_both_have_made_an_order() {
        let later = 1 + KEY_LIFETIME_MS;
        let fates = |answers: &[Line]| -> Vec<bool> {
            let requests = folded(answers).requests;
            requests.iter().map(|request| request.fate == Fate::Unknown).collect()
        };
        let unknown = |at_ms| answer(at_ms, Outcome::Unknown);
        assert_eq!(fates(&[unknown(1), answer(later, accepted("a"))]), [false, true]);
        assert_eq!(fates(&[unknown(1), unknown(2), answer(later, accepted("a"))]), [false, true]);
        assert_eq!(fates(&[answer(1, accepted("a")), unknown(later)]), [true, false]);
        assert_eq!(fates(&[answer(1, accepted("a")), unknown(2)]), [false]);
    }
}
