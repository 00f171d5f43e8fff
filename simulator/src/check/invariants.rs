//! The invariants I1–I10, each a pure function from a snapshot to what violates it.
//!
//! What one of them says is left to it: a user that differs is I8 and not also I1, a pending order is I4 and not also I10.

use std::collections::HashMap;

use super::answered::{Answered, Fate, KEY_LIFETIME_MS, Request};
use super::names::{Name, OrderId};
use super::report::Violations;
use super::snapshot::{Key, Order, Reservation, RowResult, Snapshot};
use crate::answers::{Status, Witness};

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

/// I2: per product, adjustments − confirmed reservations = stock.
pub fn stock_equation(snapshot: &Snapshot) -> Violations {
    let mut sold: HashMap<Name, i64> = HashMap::new();
    for reservation in &snapshot.reservations {
        if reservation.result.status == Some(Status::Confirmed) {
            let sum = sold.entry(reservation.product).or_default();
            *sum = sum.saturating_add(reservation.quantity);
        }
    }
    let products: std::collections::BTreeSet<Name> =
        snapshot.shelves.keys().chain(sold.keys()).copied().collect();
    let violated = |product| {
        let shelf = snapshot.shelves.get(&product).copied().unwrap_or_default();
        let sold = sold.get(&product).copied().unwrap_or_default();
        let (adjusted, text) = (shelf.adjusted, snapshot.names.text(product));
        match shelf.stock {
            None => Some(format!("product {text} is not in products: {adjusted} adjusted, {sold} sold")),
            Some(stock) if adjusted.saturating_sub(sold) == stock => None,
            Some(stock) => {
                Some(format!("product {text}: {adjusted} adjusted − {sold} sold ≠ {stock} in stock"))
            }
        }
    };
    products.into_iter().filter_map(violated).collect()
}

/// I3: stock is never negative, neither now nor in any read during the run.
pub fn stock_not_negative(snapshot: &Snapshot) -> Violations {
    let stored =
        snapshot.shelves.iter().filter_map(|(product, shelf)| Some((product, shelf.stock?, "is stored")));
    let read = snapshot.answered.iter().flat_map(|answered| &answered.lowest_stock);
    let read = read.map(|(product, stock)| (product, *stock, "was read"));
    let negative = stored.chain(read).filter(|(_, stock, _)| *stock < 0);
    negative
        .map(|(product, stock, how)| {
            format!("product {}: stock {stock} {how}", snapshot.names.text(*product))
        })
        .collect()
}

/// I4: in the end every order is settled, orders set aside excepted.
pub fn settled_in_the_end(snapshot: &Snapshot) -> Violations {
    let decided = |order: &Order| match snapshot.reservation(order.id) {
        Some(_) => "the inventory has decided it",
        None => "the inventory does not know it",
    };
    let witness = |order: &Order| {
        format!("order {} is still created; {}", snapshot.names.order_text(order.id), decided(order))
    };
    snapshot.pending().map(witness).collect()
}

/// I5: an order is confirmed or cancelled exactly as the inventory decided it, for the same product and quantity.
///
/// An order that is still created may have a decision already: its answer is on the way.
pub fn services_agree(snapshot: &Snapshot) -> Violations {
    let violated = |order: &Order| {
        let text = || snapshot.names.order_text(order.id);
        let Some(reservation) = snapshot.reservation(order.id) else {
            let settled = matches!(order.result.status, Some(Status::Confirmed | Status::Cancelled));
            let result = snapshot.describe(order.result);
            return settled
                .then(|| format!("order {} is {result}, and the inventory never decided it", text()));
        };
        differs(order, reservation).then(|| {
            format!(
                "order {} is {} of product {}, {}; the inventory has {} of product {}, {}",
                text(),
                order.quantity,
                snapshot.names.text(order.product),
                snapshot.describe(order.result),
                reservation.quantity,
                snapshot.names.text(reservation.product),
                snapshot.describe(reservation.result)
            )
        })
    };
    snapshot.orders.iter().filter_map(violated).collect()
}

fn differs(order: &Order, reservation: &Reservation) -> bool {
    (order.product, order.quantity) != (reservation.product, reservation.quantity)
        || !order.is_pending() && order.result.status.is_some() && order.result != reservation.result
}

/// I6: a status moves from created to one final state and never again.
pub fn settled_once(snapshot: &Snapshot) -> Violations {
    let rows = snapshot.orders.iter().filter_map(|order| inconsistent_row(snapshot, order));
    let observed = snapshot.answered.iter().flat_map(|answered| &answered.observed);
    let flips = observed.filter_map(|observed| {
        let order = snapshot.order(observed.order)?;
        // An event is on the way before the order service has handled it.
        let under_way = observed.by == Witness::Event && order.is_pending();
        (order.result.status != Some(observed.status) && !under_way).then(|| {
            format!(
                "order {} was seen {} and is {}",
                snapshot.names.order_text(order.id),
                observed.status.as_str(),
                snapshot.describe(order.result)
            )
        })
    });
    rows.chain(flips).collect()
}

/// What the schema promises of each row.
fn inconsistent_row(snapshot: &Snapshot, order: &Order) -> Option<String> {
    let id = || snapshot.names.order_text(order.id);
    let Some(status) = order.result.status else {
        return Some(format!("order {} has a status that does not exist", id()));
    };
    if (status == Status::Created) == order.settled_at {
        let has = if order.settled_at { "has" } else { "lacks" };
        return Some(format!("order {} is {} and {has} settled_at", id(), status.as_str()));
    }
    let reasoned = order.result.reason.is_some();
    (reasoned != (status == Status::Cancelled)).then(|| {
        let has = if reasoned { "has" } else { "lacks" };
        format!("order {} is {} and {has} a reason", id(), status.as_str())
    })
}

/// I7: one idempotency key, one order, in the answers and in order.db.
pub fn one_key_one_order(snapshot: &Snapshot) -> Violations {
    let names = &snapshot.names;
    let answers = snapshot.answered.iter().flat_map(|answered| &answered.ambiguous);
    let answers = answers.map(|(user, first, second)| {
        let (first, second) = (names.order_text(*first), names.order_text(*second));
        format!("one key of {} was answered with order {first} and with order {second}", names.text(*user))
    });
    let twice =
        snapshot.keys.windows(2).filter(|pair| (pair[0].user, pair[0].key) == (pair[1].user, pair[1].key));
    let twice = twice.map(|pair| {
        let (first, second) = (names.order_text(pair[0].order), names.order_text(pair[1].order));
        format!("one key of {} made order {first} and order {second}", names.text(pair[0].user))
    });
    let differing = snapshot.answered.iter().flat_map(accepted).filter_map(|(request, id)| {
        let key = snapshot.key(request)?;
        // A key that has expired may have made a later order, of which these answers know nothing.
        let expired = key.created_at >= request.at_ms.saturating_add(KEY_LIFETIME_MS);
        (key.order != id && !expired).then(|| {
            let (stored, answered) = (names.order_text(key.order), names.order_text(id));
            format!(
                "a key of {} is stored with order {stored} and was answered with order {answered}",
                names.text(request.user)
            )
        })
    });
    answers.chain(twice).chain(shared_orders(snapshot)).chain(differing).collect()
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

/// I8: users see only their own orders: what was answered to a user, or is kept under a user's key, is that user's.
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
/// An order that no answer names may come from a request whose outcome stayed unknown: each such request explains one
/// order of its user, product and quantity.
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

/// I10: in the end both outboxes are empty.
pub fn outboxes_empty(snapshot: &Snapshot) -> Violations {
    let rows = snapshot.outbox.iter();
    rows.map(|row| {
        format!(
            "outbox row {} of {}, for order {}",
            row.id,
            row.database,
            snapshot.names.order_text(row.order)
        )
    })
    .collect()
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

    fn describe(&self, result: RowResult) -> String {
        let status = result.status.map_or("in no known status", Status::as_str);
        match result.reason {
            Some(reason) => format!("{status} ({})", self.names.text(reason)),
            None => status.to_owned(),
        }
    }
}
