//! The group commit of new orders: one transaction for all that wait at the same time.

use shared::clock::now_ms;
use shared::fail_point;
use shared::storage::Tx;
use shared::storage::commit_queue::{Batched, CommitError};

use super::placement;
use super::placement::{NewOrder, Placed};

impl Batched for NewOrder {
    type Outcome = Placed;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Placed>> {
        let placed = placement::place(tx, batch, now_ms()).await?;
        fail_point::reach("orders: written, not committed");
        Ok(placed)
    }

    fn report(results: &[Result<Placed, CommitError>]) {
        fail_point::reach("orders: committed, not answered");
        let mut created = 0;
        for placed in results.iter().flatten() {
            if let Placed::Created(order) = placed {
                created += 1;
                tracing::debug!(order_id = order.id, "order created");
            }
        }
        metrics::counter!("orders_created_total").increment(created);
        tracing::info!(created, requests = results.len(), "orders committed");
    }
}
