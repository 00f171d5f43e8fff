//! The two routes that change stock. Both need the scope `inventory:write`, and take an `Idempotency-Key`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::contract::events::ProductId;
use shared::http::auth::StockKeeper;
use shared::http::body::JsonBody;
use shared::http::database::commit;
use shared::http::fields::given;
use shared::http::idempotency_key::{self, IdempotencyKey};
use shared::http::problem::Problem;
use shared::number::Within;
use shared::storage::commit_queue::CommitQueue;
use shared::text::Text;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use crate::stock::STOCK_MAX;
use crate::stock::adjustment::{Adjusted, AdjustmentKind, NewAdjustment, StockChange};

/// The reason of a restock that gives none.
const RESTOCK: &str = "restock";

type Stock = Within<0, STOCK_MAX>;
type Quantity = Within<1, STOCK_MAX>;
type Reason = Text<200>;

/// What was counted.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Correction, example = json!({"stock": 12, "reason": "counted"}))]
pub struct CorrectionBody {
    #[schema(inline)]
    stock: Stock,
    #[schema(inline)]
    reason: Reason,
}

/// What came in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Restock, example = json!({"quantity": 10}))]
pub struct RestockBody {
    #[schema(schema_with = quantity_schema)]
    quantity: Quantity,
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = reason_schema, required = false)]
    reason: Option<Reason>,
}

fn quantity_schema() -> Object {
    Quantity::object().description(Some("The sum must not be above 1,000,000,000,000.")).build()
}

fn reason_schema() -> Object {
    Reason::object().description(Some("`restock` without it.")).build()
}

/// Set a product's stock to what was counted, or create the product
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(put, path = "/inventory/{productId}", tag = "inventory", security(("token" = ["inventory:write"])),
    params(
        ("productId" = inline(ProductId), Path),
        IdempotencyKey,
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
    product_id: Result<Path<ProductId>, PathRejection>,
    uri: Uri,
    key: Result<IdempotencyKey, Problem>,
    JsonBody(CorrectionBody { stock, reason }): JsonBody<CorrectionBody>,
) -> Result<Response, Problem> {
    let new = NewAdjustment {
        product_id: product_id_of(product_id)?,
        kind: AdjustmentKind::Correction(stock.get()),
        reason: reason.into(),
        user_id: keeper.id,
        // What is wrong with the body is told first.
        idempotency_key: key?.0,
    };
    adjust(queue, new, &uri).await
}

/// Add what came in to a known product's stock
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/inventory/{productId}/restock", tag = "inventory", security(("token" = ["inventory:write"])),
    params(
        ("productId" = inline(ProductId), Path),
        IdempotencyKey,
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
    product_id: Result<Path<ProductId>, PathRejection>,
    uri: Uri,
    key: Result<IdempotencyKey, Problem>,
    JsonBody(RestockBody { quantity, reason }): JsonBody<RestockBody>,
) -> Result<Response, Problem> {
    let new = NewAdjustment {
        product_id: product_id_of(product_id)?,
        kind: AdjustmentKind::Restock(quantity.get()),
        reason: reason.map_or_else(|| RESTOCK.to_owned(), String::from),
        user_id: keeper.id,
        // What is wrong with the body is told first.
        idempotency_key: key?.0,
    };
    adjust(queue, new, &uri).await
}

/// Has the change committed. A client that goes away meanwhile changes nothing about that.
async fn adjust(
    queue: CommitQueue<NewAdjustment>,
    new: NewAdjustment,
    uri: &Uri,
) -> Result<Response, Problem> {
    match commit(&queue, new).await? {
        Adjusted::Made(change) => Ok(changed(change, uri)),
        Adjusted::Replayed(change) => Ok(idempotency_key::answered(true, changed(change, uri))),
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

fn product_id_of(path: Result<Path<ProductId>, PathRejection>) -> Result<String, Problem> {
    let rule = |_| Problem::invalid("productId", format!("must be {}", ProductId::rule()));
    path.map(|Path(id)| id.into()).map_err(rule)
}
