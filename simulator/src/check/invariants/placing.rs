//! What was placed: I1, I7, I8 and I9, which compare order.db with what clients were answered.

use std::collections::HashMap;

use crate::check::answered::{Answered, Fate, KEY_LIFETIME_MS, Request};
use crate::check::names::{Name, OrderId};
use crate::check::report::Listing;
use crate::check::snapshot::{Key, Order, Snapshot};

/// I1: every order that was answered 201 is in order.db, as it was ordered.
pub fn accepted_is_stored(snapshot: &Snapshot, answered: &Answered) -> Listing {
    let violated = |(request, id): (&Request, OrderId)| {
        let (text, names) = (snapshot.names.order_text(id), &snapshot.names);
        let Some(order) = snapshot.order(id) else {
            let user = names.text(request.user);
            return Some(format!("order {text} was answered 201 to {user} and is gone"));
        };
        ((order.product, order.quantity) != (request.product, request.quantity)).then(|| {
            let accepted = names.amount(request.quantity, request.product);
            let stored = names.amount(order.quantity, order.product);
            format!("order {text} was accepted for {accepted} and is stored as {stored}")
        })
    };
    accepted(answered).filter_map(violated).collect()
}

/// I7: one idempotency key, one order, in the answers, in order.db, and between them.
pub fn one_key_one_order(snapshot: &Snapshot) -> Listing {
    let names = &snapshot.names;
    let answers = snapshot.answered.iter().flat_map(|answered| &answered.ambiguous);
    let answers = answers.map(|(user, first, second)| {
        let (first, second) = (names.order_text(*first), names.order_text(*second));
        format!("one key of {} was answered with order {first} and with order {second}", names.text(*user))
    });
    let stored = repeated_keys(snapshot).chain(shared_orders(snapshot)).chain(changed_keys(snapshot));
    answers.chain(stored).collect()
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
        // A key that has expired may have made a later order, of which these answers know nothing. The service tells that by
        // its own clock, and the answers are dated by another one.
        let since = snapshot.order(id).map_or(request.at_ms, |order| order.created_at);
        let expired = key.created_at >= since.saturating_add(KEY_LIFETIME_MS);
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
        let (user, order) = (names.text(key.user), names.order_text(key.order));
        format!("a key of {user} names order {order}, which does not exist")
    });
    twice.into_iter().map(|id| format!("two keys claim order {}", names.order_text(id))).chain(missing)
}

/// I8: what was answered to a user, or is kept under a user's key, is that user's order.
pub fn own_orders_only(snapshot: &Snapshot) -> Listing {
    let names = &snapshot.names;
    let answered = snapshot.answered.iter().flat_map(accepted);
    let answered = answered.map(|(request, id)| (request.user, id, "was answered to"));
    let keys = snapshot.keys.iter().map(|key: &Key| (key.user, key.order, "is kept under a key of"));
    let foreign = answered.chain(keys).filter_map(|(user, id, how)| {
        let owner = snapshot.order(id).map(|order| order.user).filter(|owner| *owner != user)?;
        let (order, owner, user) = (names.order_text(id), names.text(owner), names.text(user));
        Some(format!("order {order} of {owner} {how} {user}"))
    });
    foreign.collect()
}

/// I9: every row of order.db comes from a POST that a client made.
///
/// An order that no answer names may come from a request whose outcome stayed unknown: each such request
/// explains one order of its user, product and quantity.
pub fn placed_by_a_client(snapshot: &Snapshot, answered: &Answered) -> Listing {
    let mut known: Vec<OrderId> = accepted(answered).map(|(_, id)| id).collect();
    known.sort_unstable();
    let mut possible: HashMap<(Name, Name, i64), u64> = HashMap::new();
    for request in answered.requests.iter().filter(|request| request.fate == Fate::Unknown) {
        *possible.entry((request.user, request.product, request.quantity)).or_default() += 1;
    }
    let mut is_explained = |order: &Order| {
        let left = possible.get_mut(&(order.user, order.product, order.quantity)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    };
    let unnamed = snapshot.orders.iter().filter(|order| known.binary_search(&order.id).is_err());
    let names = &snapshot.names;
    let witness = |order: &Order| {
        let (id, user) = (names.order_text(order.id), names.text(order.user));
        format!("order {id} of {user}: no client placed it")
    };
    unnamed.filter(|order| !is_explained(order)).map(witness).collect()
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
