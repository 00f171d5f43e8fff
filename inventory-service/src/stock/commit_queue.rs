//! The group commit of stock changes: one transaction for all that wait at the same time.

use shared::{
    clock::now_ms,
    storage::{
        Tx,
        commit_queue::{Batches, Request},
    },
};

use super::adjustment::{self, Adjusted, Adjustment, NewAdjustment, StockChange};

/// Changes that may wait for a commit; further ones are answered 503.
pub const WAITING_MAX: usize = 256;

impl Request for NewAdjustment {
    type Outcome = Adjusted;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Adjusted>> {
        let (now_ms, mut adjusted) = (now_ms(), Vec::with_capacity(batch.len()));
        // One after the other: each is decided against what the one before it left.
        for new in batch {
            adjusted.push(adjustment::adjust(tx, new, now_ms).await?);
        }
        Ok(adjusted)
    }
}

/// Commits batches until nobody can ask for a change any more.
pub async fn run(mut batches: Batches<NewAdjustment>) {
    while let Some(batch) = batches.next().await {
        let results = batch.commit().await;
        for adjusted in results.iter().flatten() {
            if let Adjusted::Made(change) = adjusted {
                log(change);
            }
        }
        batch.answer(results);
    }
}

fn log(StockChange { product_id, stock, adjustment }: &StockChange) {
    let Adjustment { id, kind, delta, user_id, .. } = adjustment;
    metrics::counter!("stock_adjustments_total", "kind" => kind.clone()).increment(1);
    tracing::info!(adjustment_id = id, product_id, kind, delta, stock, user_id, "stock adjusted");
}
