//! What became of orders: I4, I5, I6 and I10, which compare order.db with inventory.db.

use shared::contract::status::Status;

use crate::answers::Witness;
use crate::check::report::Listing;
use crate::check::snapshot::{Order, OutboxEvent, Reservation, RowResult, Snapshot};

/// I4: in the end every order is settled, orders set aside excepted.
pub fn settled_in_the_end(snapshot: &Snapshot) -> Listing {
    let witness = |order: &Order| {
        let decided = match snapshot.reservation(order.id) {
            Some(_) => "has decided it",
            None => "does not know it",
        };
        format!("order {} is still created; the inventory {decided}", snapshot.names.order_text(order.id))
    };
    snapshot.pending().map(witness).collect()
}

/// I5: an order ends exactly as the inventory decided it, for the same product and quantity.
///
/// An order that is still created may have a decision already: its answer is on the way.
pub fn services_agree(snapshot: &Snapshot) -> Listing {
    let violated = |order: &Order| {
        let text = || snapshot.names.order_text(order.id);
        let Some(reservation) = snapshot.reservation(order.id) else {
            let settled = matches!(order.result.status, Some(Status::Confirmed | Status::Cancelled));
            let result = snapshot.describe(order.result);
            return settled
                .then(|| format!("order {} is {result}, and the inventory never decided it", text()));
        };
        differs(order, reservation).then(|| {
            let ours = snapshot.names.amount(order.quantity, order.product);
            let theirs = snapshot.names.amount(reservation.quantity, reservation.product);
            let (result, decision) = (snapshot.describe(order.result), snapshot.describe(reservation.result));
            format!("order {} is {ours}, {result}; the inventory has {theirs}, {decision}", text())
        })
    };
    snapshot.orders.iter().filter_map(violated).collect()
}

fn differs(order: &Order, reservation: &Reservation) -> bool {
    (order.product, order.quantity) != (reservation.product, reservation.quantity)
        || !order.is_pending() && order.result.status.is_some() && order.result != reservation.result
}

/// I6: a status moves from created to one final state and never again.
pub fn settled_once(snapshot: &Snapshot) -> Listing {
    let rows = snapshot.orders.iter().filter_map(|order| inconsistent_row(snapshot, order));
    let observed = snapshot.answered.iter().flat_map(|answered| &answered.observed);
    let flips = observed.filter_map(|observed| {
        let order = snapshot.order(observed.order)?;
        // An event is on the way before the order service has handled it.
        let under_way = observed.by == Witness::Event && order.is_pending();
        (order.result.status != Some(observed.status) && !under_way).then(|| {
            let (id, result) = (snapshot.names.order_text(order.id), snapshot.describe(order.result));
            format!("order {id} was seen {} and is {result}", observed.status)
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
        return Some(format!("order {} is {status} and {has} settled_at", id()));
    }
    let reasoned = order.result.reason.is_some();
    (reasoned != (status == Status::Cancelled)).then(|| {
        let has = if reasoned { "has" } else { "lacks" };
        format!("order {} is {status} and {has} a reason", id())
    })
}

/// I10: in the end both outboxes are empty.
pub fn outboxes_empty(snapshot: &Snapshot) -> Listing {
    let witness = |OutboxEvent { database, batch, order }: &OutboxEvent| {
        format!(
            "an event of batch {batch} in the outbox of {database}, for order {}",
            snapshot.names.order_text(*order)
        )
    };
    snapshot.outbox.iter().map(witness).collect()
}

impl Snapshot {
    fn describe(&self, result: RowResult) -> String {
        let status = result.status.map_or("in no known status", Status::as_str);
        match result.reason {
            Some(reason) => format!("{status} ({})", self.names.text(reason)),
            None => status.to_owned(),
        }
    }
}
