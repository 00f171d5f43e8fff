//! `POST /orders`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use shared::contract::events::{ProductId, QUANTITY_MAX};
use shared::contract::trace::{self, TRACEPARENT};
use shared::fail_point;
use shared::http::auth::User;
use shared::http::body::JsonBody;
use shared::http::database::commit;
use shared::http::idempotency_key::{self, IdempotencyKey};
use shared::http::problem::Problem;
use shared::number::Within;
use shared::storage::commit_queue::CommitQueue;
use utoipa::ToSchema;

use super::open_requests::OpenRequests;
use super::prefer::{self, Wait};
use super::view::OrderView;
use crate::orders::Order;
use crate::orders::placement::{NewOrder, Placed};

type Quantity = Within<1, QUANTITY_MAX>;

/// A new order.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrder, example = json!({"productId": "1", "quantity": 2}))]
pub struct NewOrderBody {
    #[schema(inline)]
    product_id: ProductId,
    #[schema(inline)]
    quantity: Quantity,
}

/// Place an order
///
/// 503 means certainly not stored. 504 means that it is not known: repeat the request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/orders", tag = "orders", security(("token" = [])),
    params(
        IdempotencyKey,
        Wait,
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
    State(open_requests): State<OpenRequests>,
    key: Result<IdempotencyKey, Problem>,
    Wait(wait): Wait,
    headers: HeaderMap,
    JsonBody(body): JsonBody<NewOrderBody>,
) -> Result<Response, Problem> {
    let received = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let new = NewOrder {
        user_id: user.id,
        product_id: body.product_id.into(),
        quantity: body.quantity.get(),
        traceparent: trace::accept(received),
        // What is wrong with the body is told first.
        idempotency_key: key?.0,
    };
    fail_point::reach("orders: valid, not queued");
    let placed = commit(&queue, new).await?;
    fail_point::reach("orders: answered");
    let (order, replayed) = match placed {
        Placed::Created(order) => (order, false),
        Placed::Replayed(order) => (order, true),
        Placed::KeyReused => return Err(Problem::KeyReused),
    };
    Ok(created(&open_requests, order, wait, replayed).await)
}

/// 201, whatever comes of the wait: the order is stored.
async fn created(
    open_requests: &OpenRequests,
    stored: Order,
    wait: Option<Duration>,
    replayed: bool,
) -> Response {
    let (found, applied) = match wait {
        Some(_) => open_requests.find(None, &stored.id, wait).await.unwrap_or_default(),
        None => (None, None),
    };
    let order = found.unwrap_or(stored);
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    let answer = (StatusCode::CREATED, location, Json(OrderView::from(order)));
    idempotency_key::answered(replayed, prefer::answered(applied, answer))
}
