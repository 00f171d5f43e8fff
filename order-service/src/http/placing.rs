//! `POST /orders`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use shared::{
    contract::{
        events::QUANTITY_MAX,
        trace::{self, TRACEPARENT},
    },
    fail_point,
    http::{
        COMMIT_TIMEOUT,
        auth::User,
        body::JsonObject,
        idempotency_key::{self, KeyParameter},
        problem::Problem,
    },
    number::integer,
    storage::commit_queue::{CommitQueue, Refusal},
};
use utoipa::ToSchema;

use super::{
    prefer::{self, WaitParameter},
    reading::product_id_of,
    view::OrderView,
    waiting::Waiting,
};
use crate::orders::{
    Order,
    placement::{NewOrder, Placed},
};

// Only for the document: `order_fields` reads the body itself, so that an error names the field.
/// A new order.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrder, example = json!({"productId": "1", "quantity": 2}))]
#[expect(dead_code, reason = "only its schema is used")]
struct NewOrderBody {
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00]+$")]
    product_id: String,
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
}

/// Place an order
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/orders", tag = "orders", security(("token" = [])),
    params(
        KeyParameter,
        WaitParameter,
    ),
    request_body = NewOrderBody,
    responses(
        (status = 201, description = "The order is stored.", body = OrderView, headers(
            ("location" = String, description = "Where the order is."),
            ("idempotency-replayed" = Option<String>, description = "`true` when the key had made this order before."),
            ("preference-applied" = Option<String>, description = "`wait=N` when the preference was honoured."),
        )),
    ))]
pub async fn place_order(
    user: User,
    State(queue): State<CommitQueue<NewOrder>>,
    State(waiting): State<Waiting>,
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
    let placed = tokio::time::timeout(COMMIT_TIMEOUT, queue.commit(new)).await;
    let (order, replayed) = match placed.unwrap_or(Err(Refusal::Unknown)) {
        Ok(Placed::Created(order)) => (order, false),
        Ok(Placed::Replayed(order)) => (order, true),
        Ok(Placed::KeyReused) => return Err(Problem::KeyReused),
        Err(refusal) => return Err(refused(refusal)),
    };
    Ok(created(&waiting, order, prefer::wait(&headers), replayed).await)
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Busy => Problem::Unavailable("too many orders wait; nothing was stored"),
        Refusal::NotStored => Problem::Unavailable("the database is not writable; nothing was stored"),
        Refusal::Rejected => Problem::Internal,
        Refusal::Unknown => Problem::OutcomeUnknown,
    }
}

/// 201, whatever comes of the wait: the order is stored.
async fn created(waiting: &Waiting, stored: Order, wait: Option<Duration>, replayed: bool) -> Response {
    let (order, applied) = match wait {
        None => (stored, None),
        Some(_) => match waiting.find(None, &stored.id, wait).await {
            Ok((found, applied)) => (found.unwrap_or(stored), applied),
            Err(_) => (stored, None),
        },
    };
    let location = format!("/orders/{}", order.id);
    let body = Json(OrderView::from(order));
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], body).into_response();
    prefer::note_applied(&mut response, applied);
    if replayed {
        idempotency_key::note_replayed(&mut response);
    }
    response
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
    integer(value)
        .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
        .ok_or_else(|| Problem::invalid("quantity", format!("must be an integer from 1 to {QUANTITY_MAX}")))
}
