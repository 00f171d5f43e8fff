//! The group commit of new orders: one transaction for all that wait at the same time.

use shared::{
    clock::now_ms,
    fail_point,
    storage::{
        Tx,
        commit_queue::{Batches, Refusal, Request},
    },
};

use super::placement::{self, NewOrder, Placed};

impl Request for NewOrder {
    type Outcome = Placed;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Placed>> {
        let placed = placement::place(tx, batch, now_ms()).await?;
        fail_point::reach("orders: written, not committed");
        Ok(placed)
    }
}

/// Commits batches until nobody can place an order any more.
pub async fn run(mut batches: Batches<NewOrder>) {
    while let Some(batch) = batches.next().await {
        let results = batch.commit().await;
        fail_point::reach("orders: committed, not answered");
        log(&results);
        batch.answer(results);
        fail_point::reach("orders: answered");
    }
}

fn log(results: &[Result<Placed, Refusal>]) {
    let mut created = 0;
    for order in results.iter().filter_map(|result| match result {
        Ok(Placed::Created(order)) => Some(order),
        _ => None,
    }) {
        created += 1;
        tracing::debug!(order_id = order.id, "order created");
    }
    metrics::counter!("orders_created_total").increment(created);
    tracing::info!(created, requests = results.len(), "orders committed");
}
