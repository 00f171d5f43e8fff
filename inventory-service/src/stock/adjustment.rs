//! Changing stock by hand: a correction to what was counted, or a restock on top of what is there.
//!
//! Each change commits with the adjustment that explains it. The adjustment keeps its request's idempotency
//! key, and is never deleted: any number of requests with one key make one change, for ever.

use serde::Serialize;
use shared::clock::now_ms;
use shared::from_row;
use shared::storage::Tx;
use shared::storage::commit_queue::{Batched, CommitError};
use utoipa::ToSchema;

use super::{STOCK_MAX, rfc3339};

/// What is to become of a product's stock. Its word stands in the column `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdjustmentKind {
    /// It is this number: somebody counted. Creates a product that is unknown.
    Correction(i64),
    /// So many came in.
    Restock(i64),
}

/// A validated request for a change.
#[derive(Debug, Clone)]
pub struct NewAdjustment {
    pub product_id: String,
    /// 0 to [`STOCK_MAX`] for a correction, 1 to [`STOCK_MAX`] for a restock.
    pub kind: AdjustmentKind,
    /// 1–200 characters.
    pub reason: String,
    pub user_id: String,
    /// 1–255 characters, the caller's own.
    pub idempotency_key: Option<String>,
}

/// The record of a change: one row of the table `adjustments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adjustment {
    /// Rises with each change.
    pub id: i64,
    #[serde(skip)]
    product_id: String,
    /// `correction` or `restock`.
    pub kind: String,
    /// What was added; negative when it was taken away, 0 when a count confirmed the stock.
    pub delta: i64,
    /// Why, in the caller's words.
    pub reason: String,
    /// When it happened; RFC 3339 on the wire.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: i64,
    /// The `sub` of who asked for it.
    pub user_id: String,
    #[serde(skip)]
    stock_after: i64,
    /// It is the first of its product: the change created the product.
    #[serde(skip)]
    pub created: bool,
}

from_row!(Adjustment { id, product_id, kind, delta, reason, created_at, user_id, stock_after, created });

/// A change that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockChange {
    /// Whose stock.
    pub product_id: String,
    /// The stock as it is now.
    #[schema(minimum = 0)]
    pub stock: i64,
    /// The record of the change.
    pub adjustment: Adjustment,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjusted {
    Made(StockChange),
    /// The key had made this change before. Nothing was stored.
    Replayed(StockChange),
    /// The key had made another change. Nothing was stored.
    KeyReused,
    /// A restock of a product that is unknown. Nothing was stored.
    UnknownProduct,
    /// The restock would lead above [`STOCK_MAX`]. Nothing was stored.
    AboveMax,
}

/// Group commit: one transaction for all that wait at the same time.
impl Batched for NewAdjustment {
    type Outcome = Adjusted;

    async fn write(tx: &mut Tx, batch: &[Self]) -> sqlx::Result<Vec<Adjusted>> {
        let (now_ms, mut adjusted) = (now_ms(), Vec::with_capacity(batch.len()));
        // One after the other: each is decided against what the one before it left.
        for new in batch {
            adjusted.push(adjust(tx, new, now_ms).await?);
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

/// Decides the request against what the transaction sees, and writes the new stock with its adjustment.
pub async fn adjust(tx: &mut Tx, new: &NewAdjustment, now_ms: i64) -> sqlx::Result<Adjusted> {
    let before = stock_of(tx, &new.product_id).await?;
    if let Some(key) = &new.idempotency_key
        && let Some(made) = made_with(tx, &new.user_id, key).await?
    {
        return Ok(replay(made, new, before));
    }
    let after = match (new.kind, before) {
        (AdjustmentKind::Correction(counted), _) => counted,
        (AdjustmentKind::Restock(quantity), Some(stock)) => stock + quantity,
        (AdjustmentKind::Restock(_), None) => return Ok(Adjusted::UnknownProduct),
    };
    if after > STOCK_MAX {
        return Ok(Adjusted::AboveMax);
    }
    put_stock(tx, &new.product_id, after).await?;
    let mut adjustment = new.adjustment(before, after, now_ms);
    adjustment.id = insert(tx, &adjustment, new.idempotency_key.as_deref()).await?;
    Ok(Adjusted::Made(adjustment.into_change(after)))
}

/// The same product, change and reason are the same request: the adjustment is the record of its request.
fn replay(adjustment: Adjustment, new: &NewAdjustment, stock: Option<i64>) -> Adjusted {
    let amount = match new.kind {
        AdjustmentKind::Correction(_) => adjustment.stock_after,
        AdjustmentKind::Restock(_) => adjustment.delta,
    };
    let made = (&adjustment.product_id, adjustment.kind.as_str(), amount, &adjustment.reason);
    match stock {
        Some(stock) if made == (&new.product_id, new.kind.as_str(), new.kind.amount(), &new.reason) => {
            Adjusted::Replayed(adjustment.into_change(stock))
        }
        _ => Adjusted::KeyReused,
    }
}

impl AdjustmentKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Correction(_) => "correction",
            Self::Restock(_) => "restock",
        }
    }

    fn amount(self) -> i64 {
        let (Self::Correction(amount) | Self::Restock(amount)) = self;
        amount
    }
}

impl NewAdjustment {
    /// Its row, before it has an id.
    fn adjustment(&self, before: Option<i64>, after: i64, now_ms: i64) -> Adjustment {
        Adjustment {
            id: 0,
            product_id: self.product_id.clone(),
            kind: self.kind.as_str().to_owned(),
            delta: after - before.unwrap_or(0),
            reason: self.reason.clone(),
            created_at: now_ms,
            user_id: self.user_id.clone(),
            stock_after: after,
            created: before.is_none(),
        }
    }
}

impl Adjustment {
    fn into_change(self, stock: i64) -> StockChange {
        StockChange { product_id: self.product_id.clone(), stock, adjustment: self }
    }
}

/// The adjustment that a key made.
async fn made_with(tx: &mut Tx, user_id: &str, key: &str) -> sqlx::Result<Option<Adjustment>> {
    sqlx::query_as(
        "SELECT *,
             NOT EXISTS (SELECT 1 FROM adjustments AS earlier
                         WHERE earlier.product_id = made.product_id AND earlier.id < made.id) AS created
         FROM adjustments AS made WHERE user_id = $1 AND idempotency_key = $2",
    )
    .bind(user_id)
    .bind(key)
    .fetch_optional(&mut **tx)
    .await
}

async fn stock_of(tx: &mut Tx, product_id: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT stock FROM products WHERE id = $1")
        .bind(product_id)
        .fetch_optional(&mut **tx)
        .await
}

async fn put_stock(tx: &mut Tx, product_id: &str, stock: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO products (id, stock) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET stock = excluded.stock",
    )
    .bind(product_id)
    .bind(stock)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Inserts the row and returns its id.
async fn insert(tx: &mut Tx, row: &Adjustment, key: Option<&str>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO adjustments
             (product_id, kind, delta, reason, created_at, user_id, idempotency_key, stock_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
    )
    .bind(&row.product_id)
    .bind(&row.kind)
    .bind(row.delta)
    .bind(&row.reason)
    .bind(row.created_at)
    .bind(&row.user_id)
    .bind(key)
    .bind(row.stock_after)
    .fetch_one(&mut **tx)
    .await
}
