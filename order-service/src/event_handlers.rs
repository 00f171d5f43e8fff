//! What the order service does with `order_processed`.

use anyhow::Result;
use shared::clock::now_ms;
use shared::contract::events::{OrderProcessed, Received};
use shared::delivery::handler::EventHandler;
use shared::delivery::outcome::Outcome;
use shared::storage::Tx;

use crate::orders::settlement;

/// Settles orders with the inventory's answers.
#[derive(Clone, Copy)]
pub struct SettleOrders;

impl EventHandler for SettleOrders {
    type Event = OrderProcessed;

    async fn handle(&self, tx: &mut Tx, answers: &[Received<OrderProcessed>]) -> Result<Vec<Outcome>> {
        settlement::settle(tx, answers, now_ms()).await
    }
}
