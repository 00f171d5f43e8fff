//! The routes of the order service.

mod placing;
mod prefer;
mod reading;
mod view;
pub mod waiting;
mod watching;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, State},
    response::Response,
};
use serde_json::Value;
use shared::{
    broker::adoption::Healing,
    delivery::dead_letter::redrive::DeadLetters,
    http::{
        answer::with_defaults,
        auth::{Admin, Tokens},
        openapi,
        problem::Problem,
    },
    operations::{
        probes::{self, Operations},
        routes::{
            adopt::{self, Adopted},
            dead_letters,
        },
        row_count::RowCount,
    },
    storage::{Database, commit_queue::CommitQueue},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::waiting::Waiting;
use crate::{
    families::FAMILIES,
    orders::{pending, placement::NewOrder},
};

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// Verifies bearer tokens.
    pub tokens: Tokens,
    /// Where new orders go.
    pub queue: CommitQueue<NewOrder>,
    /// Where orders are read.
    pub database: Database,
    /// For requests that stay open until something happens.
    pub waiting: Waiting,
    /// Probes and metrics.
    pub operations: Arc<Operations>,
    /// How many orders are not settled.
    pub pending_orders: Arc<RowCount>,
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
    openapi::router("Order service", about, "orders")
        .routes(routes!(reading::list_orders, placing::place_order))
        .routes(routes!(watching::watch_orders))
        .routes(routes!(reading::show_order))
        .merge(dead_letters::routes())
        .routes(routes!(adopt))
        .merge(probes::probes())
        .routes(routes!(metrics))
}

/// Counters and gauges for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "probes", responses(
    (status = 200, description = "The text format 0.0.4.", body = String, content_type = "text/plain"),
))]
async fn metrics(
    State(operations): State<Arc<Operations>>,
    State(waiting): State<Waiting>,
    State(pending_orders): State<Arc<RowCount>>,
) -> Response {
    metrics::gauge!("http_requests_waiting").set(waiting.taken() as f64);
    match pending_orders.rows(pending::count(operations.database.reader())).await {
        Ok(orders) => metrics::gauge!("orders_pending").set(orders as f64),
        Err(error) => {
            operations.database.note_failure(&error);
            tracing::warn!(%error, "pending orders not counted");
        }
    }
    operations.metrics("order-service", env!("CARGO_PKG_VERSION"), FAMILIES).await
}

/// Take over the consumer that belongs to another database
///
/// For a service that is not ready for that reason. The other database must be stopped for good.
#[utoipa::path(post, path = adopt::PATH, tag = "admin", security(("token" = ["admin"])), responses(
    (status = 200, description = "What was done.", body = Adopted),
))]
async fn adopt(admin: Admin, State(operations): State<Arc<Operations>>) -> Result<Response, Problem> {
    operations.adopt(admin, Healing::SendAgain).await
}
