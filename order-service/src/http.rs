//! The routes of the order service.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRef, Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use shared::{
    adoption::{ADOPT_PATH, Healing},
    auth::{Admin, Tokens, User},
    body::JsonObject,
    dead_letter::{self, redrive::DeadLetters},
    events::{ID_MAX_CHARS, QUANTITY_MAX},
    fail_point,
    http::{read, with_defaults},
    idempotency_key,
    operations::{self, Operations},
    problem::Problem,
    sqlite::Database,
    trace::{self, TRACEPARENT},
};

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

/// All routes.
pub fn routes(state: AppState) -> Router {
    let routes = Router::new()
        .route("/orders", get(list_orders).post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/metrics", get(metrics))
        .route(ADOPT_PATH, post(adopt))
        .merge(operations::probes())
        .merge(dead_letter::routes::routes())
        .with_state(state);
    with_defaults(routes)
}

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

async fn list_orders(user: User, State(database): State<Database>) -> Result<Response, Problem> {
    let orders = read(&database, orders::newest_of(database.reader(), &user.id)).await?;
    Ok(Json(orders.into_iter().map(OrderView::from).collect::<Vec<_>>()).into_response())
}

async fn show_order(
    user: User,
    State(database): State<Database>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NotFound)?;
    let order = read(&database, orders::find_of(database.reader(), &user.id, &id)).await?;
    Ok(Json(OrderView::from(order.ok_or(Problem::NotFound)?)).into_response())
}

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

async fn adopt(admin: Admin, State(operations): State<Arc<Operations>>) -> Result<Response, Problem> {
    operations.adopt(admin, Healing::SendAgain).await
}
