//! The routes of the order service.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRef, Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use shared::{
    adoption::{ADOPT_PATH, Healing},
    auth::{Admin, Tokens, User},
    body::JsonObject,
    dead_letter::{self, redrive::DeadLetters},
    events::{ID_MAX_CHARS, QUANTITY_MAX},
    fail_point,
    http::{read, with_defaults},
    idempotency_key, openapi,
    operations::{self, Adopted, Operations},
    problem::Problem,
    sqlite::Database,
    trace::{self, TRACEPARENT},
};

use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::orders::{
    self, OrderView,
    commit_queue::{CommitQueue, Refusal},
    pending,
    placement::{NewOrder, Placed},
};

/// A POST waits this long for its commit before the answer is 504.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// Verifies bearer tokens.
    pub tokens: Tokens,
    /// Where new orders go.
    pub queue: CommitQueue,
    /// Where orders are read.
    pub database: Database,
    /// Probes and metrics.
    pub operations: Arc<Operations>,
    /// What can never succeed, for the admin routes.
    pub dead_letters: DeadLetters,
}

/// All routes, with the document that describes them.
pub fn routes(state: AppState) -> Router {
    with_defaults(openapi::with_document(documented()).with_state(state))
}

/// The OpenAPI document of the routes.
pub fn document() -> Value {
    openapi::document(&documented())
}

fn documented() -> OpenApiRouter<AppState> {
    let about = "Takes orders. Each is stored as `created`, and becomes `confirmed` or `cancelled` once the inventory has decided.";
    openapi::router("Order service", about)
        .routes(routes!(list_orders, place_order))
        .routes(routes!(show_order))
        .merge(dead_letter::routes::routes())
        .routes(routes!(adopt))
        .merge(operations::probes())
        .routes(routes!(metrics))
}

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
async fn place_order(
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
            "productId" => product_id = Some(product_id_field(value)?),
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

fn product_id_field(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(id) if (1..=ID_MAX_CHARS).contains(&id.chars().count()) => Ok(id),
        _ => {
            Err(Problem::invalid("productId", format!("must be a string of 1 to {ID_MAX_CHARS} characters")))
        }
    }
}

fn quantity_field(value: &Value) -> Result<i64, Problem> {
    value
        .as_i64()
        .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
        .ok_or_else(|| Problem::invalid("quantity", format!("must be an integer from 1 to {QUANTITY_MAX}")))
}

/// Your newest orders
#[utoipa::path(get, path = "/orders", tag = "orders", security(("token" = [])), responses(
    (status = 200, description = "Newest first.", body = [OrderView]),
))]
async fn list_orders(user: User, State(database): State<Database>) -> Result<Response, Problem> {
    let orders = read(&database, orders::newest_of(database.reader(), &user.id)).await?;
    Ok(Json(orders.into_iter().map(OrderView::from).collect::<Vec<_>>()).into_response())
}

/// One of your orders
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", security(("token" = [])), params(("id" = String, Path)), responses(
    (status = 200, description = "The order as it is now.", body = OrderView),
))]
async fn show_order(
    user: User,
    State(database): State<Database>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NotFound)?;
    let order = read(&database, orders::find_of(database.reader(), &user.id, &id)).await?;
    Ok(Json(OrderView::from(order.ok_or(Problem::NotFound)?)).into_response())
}

/// Counters and gauges for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "probes", responses(
    (status = 200, description = "The text format 0.0.4.", body = String, content_type = "text/plain"),
))]
async fn metrics(State(operations): State<Arc<Operations>>) -> Response {
    match pending::count(operations.database.reader()).await {
        Ok(orders) => metrics::gauge!("orders_pending").set(orders as f64),
        Err(error) => {
            operations.database.notice(&error);
            tracing::warn!(%error, "pending orders not counted");
        }
    }
    operations.metrics("order-service", env!("CARGO_PKG_VERSION")).await
}

/// Take over the consumer that belongs to another database
///
/// For a service that is not ready for that reason. The other database must be stopped for good.
#[utoipa::path(post, path = ADOPT_PATH, tag = "admin", security(("token" = ["admin"])), responses(
    (status = 200, description = "What was done.", body = Adopted),
))]
async fn adopt(admin: Admin, State(operations): State<Arc<Operations>>) -> Result<Response, Problem> {
    operations.adopt(admin, Healing::SendAgain).await
}
