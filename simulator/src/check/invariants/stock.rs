//! Stock: I2 and I3, within inventory.db and in what clients read.

use std::collections::{BTreeSet, HashMap};

use shared::contract::status::Status;

use crate::check::names::Name;
use crate::check::report::Listing;
use crate::check::snapshot::Snapshot;

/// I2: per product, adjustments − confirmed reservations = stock.
pub fn stock_equation(snapshot: &Snapshot) -> Listing {
    let mut sold: HashMap<Name, i64> = HashMap::new();
    for reservation in &snapshot.reservations {
        if reservation.result.status == Some(Status::Confirmed) {
            let sum = sold.entry(reservation.product).or_default();
            *sum = sum.saturating_add(reservation.quantity);
        }
    }
    let products: BTreeSet<Name> = snapshot.shelves.keys().chain(sold.keys()).copied().collect();
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
pub fn stock_not_negative(snapshot: &Snapshot) -> Listing {
    let stored =
        snapshot.shelves.iter().filter_map(|(product, shelf)| Some((product, shelf.stock?, "is stored")));
    let read = snapshot.answered.iter().flat_map(|answered| &answered.lowest_stock);
    let read = read.map(|(product, stock)| (product, *stock, "was read"));
    let negative = stored.chain(read).filter(|(_, stock, _)| *stock < 0);
    let names = &snapshot.names;
    negative.map(|(id, stock, how)| format!("product {}: stock {stock} {how}", names.text(*id))).collect()
}
