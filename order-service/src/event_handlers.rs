//! What the order service does with `order_processed`.

use anyhow::Result;
use shared::{
    clock::now_ms,
    contract::events::{OrderProcessed, Received},
    delivery::{handler::EventHandler, outcome::Outcome},
    storage::Tx,
};

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
