//! What the inventory service does with `order_created`.

use anyhow::Result;
use shared::clock::now_ms;
use shared::contract::events::{OrderCreated, Received};
use shared::delivery::handler::EventHandler;
use shared::delivery::outcome::Outcome;
use shared::storage::Tx;

use crate::stock::reservation;

/// Decides announced orders.
#[derive(Clone, Copy)]
pub struct DecideOrders;

impl EventHandler for DecideOrders {
    type Event = OrderCreated;

    async fn handle(&self, tx: &mut Tx, orders: &[Received<OrderCreated>]) -> Result<Vec<Outcome>> {
        reservation::reserve(tx, orders, now_ms()).await
    }
}
