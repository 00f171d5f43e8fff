//! The two routes that change stock. Both need the scope `inventory:write`, and take an `Idempotency-Key`.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use shared::{
    contract::events::ID_MAX_CHARS,
    http::{
        COMMIT_TIMEOUT,
        auth::StockKeeper,
        body::JsonObject,
        idempotency_key::{self, KeyParameter},
        problem::Problem,
    },
    number::integer,
    storage::commit_queue::{CommitQueue, Refusal},
    text::is_text,
};
use utoipa::ToSchema;

use crate::stock::{
    STOCK_MAX,
    adjustment::{Adjusted, AdjustmentKind, NewAdjustment, StockChange},
};

/// The longest reason, in characters.
const REASON_MAX_CHARS: usize = 200;
/// The reason of a restock that gives none.
const RESTOCK: &str = "restock";

// Only for the document: `fields` reads the bodies itself, so that an error names the field.
/// What was counted.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Correction, example = json!({"stock": 12, "reason": "counted"}))]
#[expect(dead_code, reason = "only its schema is used")]
struct CorrectionBody {
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    stock: i64,
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00]+$")]
    reason: String,
}

/// What came in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Restock, example = json!({"quantity": 10}))]
#[expect(dead_code, reason = "only its schema is used")]
struct RestockBody {
    /// The sum must not be above 1,000,000,000,000.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    quantity: i64,
    /// `restock` without it.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00]+$", nullable = false)]
    reason: Option<String>,
}

/// Set a product's stock to what was counted, or create the product
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(put, path = "/inventory/{productId}", tag = "inventory", security(("token" = ["inventory:write"])),
    params(
        ("productId" = String, Path, min_length = 1, max_length = 64, pattern = r"^[^\x00]+$"),
        KeyParameter,
    ),
    request_body = CorrectionBody,
    responses(
        (status = 200, description = "The stock is corrected.", body = StockChange, headers(
            ("idempotency-replayed" = Option<String>, description = "`true` when the key had made this change before."),
        )),
        (status = 201, description = "The product is created.", body = StockChange, headers(
            ("location" = String, description = "Where the product is."),
            ("idempotency-replayed" = Option<String>, description = "`true` when the key had made this change before."),
        )),
    ))]
pub async fn correct(
    keeper: StockKeeper,
    State(queue): State<CommitQueue<NewAdjustment>>,
    product_id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Problem> {
    let (stock, reason) = fields(body, "stock", 0)?;
    let new = NewAdjustment {
        product_id: product_id_of(product_id)?,
        kind: AdjustmentKind::Correction(stock),
        reason: reason.ok_or_else(|| Problem::invalid("reason", "is required"))?,
        user_id: keeper.id,
        idempotency_key: idempotency_key::read(&headers)?,
    };
    adjust(queue, new, &uri).await
}

/// Add what came in to a known product's stock
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/inventory/{productId}/restock", tag = "inventory", security(("token" = ["inventory:write"])),
    params(
        ("productId" = String, Path, min_length = 1, max_length = 64, pattern = r"^[^\x00]+$"),
        KeyParameter,
    ),
    request_body = RestockBody,
    responses(
        (status = 200, description = "The stock is raised.", body = StockChange, headers(
            ("idempotency-replayed" = Option<String>, description = "`true` when the key had made this change before."),
        )),
    ))]
pub async fn restock(
    keeper: StockKeeper,
    State(queue): State<CommitQueue<NewAdjustment>>,
    product_id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Problem> {
    let (quantity, reason) = fields(body, "quantity", 1)?;
    let new = NewAdjustment {
        product_id: product_id_of(product_id)?,
        kind: AdjustmentKind::Restock(quantity),
        reason: reason.unwrap_or_else(|| RESTOCK.to_owned()),
        user_id: keeper.id,
        idempotency_key: idempotency_key::read(&headers)?,
    };
    adjust(queue, new, &uri).await
}

/// Has the change committed. A client that goes away meanwhile changes nothing about that.
async fn adjust(
    queue: CommitQueue<NewAdjustment>,
    new: NewAdjustment,
    uri: &Uri,
) -> Result<Response, Problem> {
    let adjusted = tokio::time::timeout(COMMIT_TIMEOUT, queue.commit(new)).await;
    match adjusted.unwrap_or(Err(Refusal::Unknown)) {
        Ok(adjusted) => answer(adjusted, uri),
        Err(Refusal::Busy) => Err(Problem::Unavailable("too many changes wait; nothing was stored")),
        Err(Refusal::NotStored) => {
            Err(Problem::Unavailable("the database is not writable; nothing was stored"))
        }
        Err(Refusal::Rejected) => Err(Problem::Internal),
        Err(Refusal::Unknown) => Err(Problem::OutcomeUnknown),
    }
}

fn answer(adjusted: Adjusted, uri: &Uri) -> Result<Response, Problem> {
    match adjusted {
        Adjusted::Made(change) => Ok(changed(change, uri)),
        Adjusted::Replayed(change) => {
            let mut response = changed(change, uri);
            idempotency_key::note_replayed(&mut response);
            Ok(response)
        }
        Adjusted::KeyReused => Err(Problem::KeyReused),
        Adjusted::UnknownProduct => Err(Problem::NotFound),
        Adjusted::AboveMax => {
            Err(Problem::invalid("quantity", format!("must not lead to a stock above {STOCK_MAX}")))
        }
    }
}

/// A product that was created is where the request went.
fn changed(change: StockChange, uri: &Uri) -> Response {
    if change.adjustment.created {
        let location = [(header::LOCATION, uri.path().to_owned())];
        return (StatusCode::CREATED, location, Json(change)).into_response();
    }
    Json(change).into_response()
}

/// The fields of a change, and nothing else: an amount from `min` to [`STOCK_MAX`], and perhaps a reason.
fn fields(
    JsonObject(fields): JsonObject,
    amount_name: &str,
    min: i64,
) -> Result<(i64, Option<String>), Problem> {
    let (mut amount, mut reason) = (None, None);
    for (name, value) in fields {
        match name.as_str() {
            "reason" => reason = Some(reason_field(value)?),
            name if name == amount_name => amount = Some(amount_field(name, &value, min)?),
            _ => {
                let rule = format!("is not a field of this change; send {amount_name} and reason only");
                return Err(Problem::invalid(&name, rule));
            }
        }
    }
    Ok((amount.ok_or_else(|| Problem::invalid(amount_name, "is required"))?, reason))
}

fn amount_field(name: &str, value: &Value, min: i64) -> Result<i64, Problem> {
    let amount = integer(value).filter(|amount| (min..=STOCK_MAX).contains(amount));
    amount.ok_or_else(|| Problem::invalid(name, format!("must be an integer from {min} to {STOCK_MAX}")))
}

fn reason_field(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(reason) if is_text(&reason, REASON_MAX_CHARS) => Ok(reason),
        _ => Err(Problem::invalid("reason", text_rule(REASON_MAX_CHARS))),
    }
}

fn product_id_of(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match path {
        Ok(Path(id)) if is_text(&id, ID_MAX_CHARS) => Ok(id),
        _ => Err(Problem::invalid("productId", text_rule(ID_MAX_CHARS))),
    }
}

fn text_rule(max_chars: usize) -> String {
    format!("must be a text of 1 to {max_chars} characters without U+0000")
}
