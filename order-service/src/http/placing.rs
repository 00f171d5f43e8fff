//! `POST /orders`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use shared::{
    auth::User,
    body::JsonObject,
    events::QUANTITY_MAX,
    fail_point, idempotency_key,
    problem::Problem,
    trace::{self, TRACEPARENT},
};
use utoipa::ToSchema;

use super::reading::product_id_of;
use crate::orders::{
    commit_queue::{CommitQueue, Refusal},
    placement::{NewOrder, Placed},
    view::OrderView,
};

/// A POST waits this long for its commit before the answer is 504.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

// Only for the document: `order_fields` reads the body itself, so that an error names the field.
/// A new order.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrder, example = json!({"productId": "1", "quantity": 2}))]
#[expect(dead_code, reason = "only its schema is used")]
struct NewOrderBody {
    #[schema(min_length = 1, max_length = 64)]
    product_id: String,
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
}

/// Place an order
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/orders", tag = "orders", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "The same key and body again answer the same order, for 24 hours.")),
    request_body = NewOrderBody,
    responses(
        (status = 201, description = "The order is stored.", body = OrderView, headers(
            ("location" = String, description = "Where the order is."),
            ("idempotency-replayed" = Option<String>, description = "`true` when the key had made this order before."),
        )),
    ))]
pub async fn place_order(
    user: User,
    State(queue): State<CommitQueue>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, Problem> {
    let (product_id, quantity) = order_fields(body)?;
    let received = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let new = NewOrder {
        user_id: user.id,
        product_id,
        quantity,
        traceparent: trace::accept(received),
        idempotency_key: idempotency_key::read(&headers)?,
    };
    fail_point::reach("orders: valid, not queued");
    let placed = tokio::time::timeout(COMMIT_TIMEOUT, queue.place(new)).await;
    match placed.unwrap_or(Err(Refusal::Unknown)) {
        Ok(Placed::Created(order)) => Ok(created(order.into())),
        Ok(Placed::Replayed(order)) => {
            let mut response = created(order.into());
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED.clone(), HeaderValue::from_static("true"));
            Ok(response)
        }
        Ok(Placed::KeyReused) => Err(Problem::KeyReused),
        Err(Refusal::Busy) => Err(Problem::Unavailable("too many orders wait; nothing was stored")),
        Err(Refusal::NotStored) => {
            Err(Problem::Unavailable("the database is not writable; nothing was stored"))
        }
        Err(Refusal::Rejected) => Err(Problem::Internal),
        Err(Refusal::Unknown) => Err(Problem::OutcomeUnknown),
    }
}

fn created(order: OrderView) -> Response {
    let location = format!("/orders/{}", order.id());
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(order)).into_response()
}

/// The two fields of a new order, and nothing else.
fn order_fields(JsonObject(fields): JsonObject) -> Result<(String, i64), Problem> {
    let (mut product_id, mut quantity) = (None, None);
    for (name, value) in fields {
        match name.as_str() {
            "productId" => product_id = Some(product_id_of(value.as_str().unwrap_or_default())?.to_owned()),
            "quantity" => quantity = Some(quantity_field(&value)?),
            _ => {
                return Err(Problem::invalid(
                    &name,
                    "is not a field of an order; send productId and quantity only",
                ));
            }
        }
    }
    let required = |field| move || Problem::invalid(field, "is required");
    Ok((product_id.ok_or_else(required("productId"))?, quantity.ok_or_else(required("quantity"))?))
}

fn quantity_field(value: &Value) -> Result<i64, Problem> {
    value
        .as_i64()
        .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
        .ok_or_else(|| Problem::invalid("quantity", format!("must be an integer from 1 to {QUANTITY_MAX}")))
}
