//! The group commit of stock changes: one transaction for all that wait at the same time.

use shared::clock::now_ms;
use shared::storage::Tx;
use shared::storage::commit_queue::{Batched, CommitError};

use super::adjustment;
use super::adjustment::{Adjusted, Adjustment, NewAdjustment, StockChange};

impl Batched for NewAdjustment {
    type Outcome = Adjusted;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Adjusted>> {
        let (now_ms, mut adjusted) = (now_ms(), Vec::with_capacity(batch.len()));
        // One after the other: each is decided against what the one before it left.
        for new in batch {
            adjusted.push(adjustment::adjust(tx, new, now_ms).await?);
        }
        Ok(adjusted)
    }

    fn report(results: &[Result<Adjusted, CommitError>]) {
        for adjusted in results.iter().flatten() {
            let Adjusted::Made(StockChange { product_id, stock, adjustment }) = adjusted else { continue };
            let Adjustment { id, kind, delta, user_id, .. } = adjustment;
            metrics::counter!("stock_adjustments_total", "kind" => kind.clone()).increment(1);
            tracing::info!(adjustment_id = id, product_id, kind, delta, stock, user_id, "stock adjusted");
        }
    }
}
