//! What was placed: I1, I7, I8 and I9, which compare order.db with what clients were answered.

use std::collections::HashMap;

use crate::check::answered::{Answered, Fate, KEY_LIFETIME_MS, Request};
use crate::check::names::{Name, OrderId};
use crate::check::report::Violations;
use crate::check::snapshot::{Key, Order, Snapshot};

/// I1: every order that was answered 201 is in order.db, as it was ordered.
pub fn accepted_is_stored(snapshot: &Snapshot, answered: &Answered) -> Violations {
    let violated = |(request, id): (&Request, OrderId)| {
        let (text, names) = (snapshot.names.order_text(id), &snapshot.names);
        let Some(order) = snapshot.order(id) else {
            return Some(format!(
                "order {text} was answered 201 to {} and is gone",
                names.text(request.user)
            ));
        };
        ((order.product, order.quantity) != (request.product, request.quantity)).then(|| {
            format!(
                "order {text} was accepted for {} of product {} and is stored as {} of product {}",
                request.quantity,
                names.text(request.product),
                order.quantity,
                names.text(order.product)
            )
        })
    };
    accepted(answered).filter_map(violated).collect()
}

/// I7: one idempotency key, one order, in the answers, in order.db, and between them.
pub fn one_key_one_order(snapshot: &Snapshot) -> Violations {
    let names = &snapshot.names;
    let answers = snapshot.answered.iter().flat_map(|answered| &answered.ambiguous);
    let answers = answers.map(|(user, first, second)| {
        let (first, second) = (names.order_text(*first), names.order_text(*second));
        format!("one key of {} was answered with order {first} and with order {second}", names.text(*user))
    });
    answers
        .chain(repeated_keys(snapshot))
        .chain(shared_orders(snapshot))
        .chain(changed_keys(snapshot))
        .collect()
}

/// Keys that are stored twice.
fn repeated_keys(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let pairs = snapshot.keys.windows(2);
    let twice = pairs.filter(|pair| (pair[0].user, pair[0].key) == (pair[1].user, pair[1].key));
    let names = &snapshot.names;
    twice.map(|pair| {
        let (first, second) = (names.order_text(pair[0].order), names.order_text(pair[1].order));
        format!("one key of {} made order {first} and order {second}", names.text(pair[0].user))
    })
}

/// Keys that are stored with another order than their client was answered.
fn changed_keys(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let names = &snapshot.names;
    snapshot.answered.iter().flat_map(accepted).filter_map(|(request, id)| {
        let key = snapshot.key(request)?;
        // A key that has expired may have made a later order, of which these answers know nothing.
        let expired = key.created_at >= request.at_ms.saturating_add(KEY_LIFETIME_MS);
        (key.order != id && !expired).then(|| {
            let (stored, answered) = (names.order_text(key.order), names.order_text(id));
            let user = names.text(request.user);
            format!("a key of {user} is stored with order {stored} and was answered with order {answered}")
        })
    })
}

/// Orders that two keys claim to have made, and keys whose order is not there.
fn shared_orders(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let mut orders: Vec<OrderId> = snapshot.keys.iter().map(|key| key.order).collect();
    orders.sort_unstable();
    let twice: Vec<OrderId> =
        orders.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let names = &snapshot.names;
    let missing = snapshot.keys.iter().filter(|key| snapshot.order(key.order).is_none());
    let missing = missing.map(|key| {
        format!(
            "a key of {} names order {}, which does not exist",
            names.text(key.user),
            names.order_text(key.order)
        )
    });
    twice.into_iter().map(|id| format!("two keys claim order {}", names.order_text(id))).chain(missing)
}

/// I8: what was answered to a user, or is kept under a user's key, is that user's order.
pub fn own_orders_only(snapshot: &Snapshot) -> Violations {
    let names = &snapshot.names;
    let answered = snapshot
        .answered
        .iter()
        .flat_map(accepted)
        .map(|(request, id)| (request.user, id, "was answered to"));
    let keys = snapshot.keys.iter().map(|key: &Key| (key.user, key.order, "is kept under a key of"));
    let foreign = answered.chain(keys).filter_map(|(user, id, how)| {
        let owner = snapshot.order(id)?.user;
        let text =
            || format!("order {} of {} {how} {}", names.order_text(id), names.text(owner), names.text(user));
        (owner != user).then(text)
    });
    foreign.collect()
}

/// I9: every row of order.db comes from a POST that a client made.
///
/// An order that no answer names may come from a request whose outcome stayed unknown: each such request
/// explains one order of its user, product and quantity.
pub fn placed_by_a_client(snapshot: &Snapshot, answered: &Answered) -> Violations {
    let mut known: Vec<OrderId> = accepted(answered).map(|(_, id)| id).collect();
    known.sort_unstable();
    let mut possible: HashMap<(Name, Name, i64), u64> = HashMap::new();
    for request in answered.requests.iter().filter(|request| request.fate == Fate::Unknown) {
        *possible.entry((request.user, request.product, request.quantity)).or_default() += 1;
    }
    let unexplained = snapshot.orders.iter().filter(|order| known.binary_search(&order.id).is_err());
    let unexplained =
        unexplained.filter(|order| match possible.get_mut(&(order.user, order.product, order.quantity)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
    let names = &snapshot.names;
    let witness = |order: &Order| {
        let (id, user) = (names.order_text(order.id), names.text(order.user));
        format!("order {id} of {user}: no client placed it")
    };
    unexplained.map(witness).collect()
}

fn accepted(answered: &Answered) -> impl Iterator<Item = (&Request, OrderId)> {
    answered.requests.iter().filter_map(|request| match request.fate {
        Fate::Accepted(id) => Some((request, id)),
        Fate::Refused | Fate::Unknown => None,
    })
}

impl Snapshot {
    /// The stored key of a request; `None` when it has expired or was never stored.
    fn key(&self, request: &Request) -> Option<&Key> {
        let at =
            self.keys.binary_search_by_key(&(request.user, request.key), |key| (key.user, key.key)).ok()?;
        self.keys.get(at)
    }
}
