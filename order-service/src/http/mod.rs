//! The routes of the order service.

pub mod open_requests;
mod placing;
mod prefer;
mod reading;
mod view;
mod watching;

use axum::extract::FromRef;
use serde_json::Value;
use shared::http::auth::Tokens;
use shared::http::openapi;
use shared::operations;
use shared::storage::Database;
use shared::storage::commit_queue::CommitQueue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::open_requests::OpenRequests;
use crate::orders::placement::NewOrder;

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    pub tokens: Tokens,
    pub database: Database,
    pub queue: CommitQueue<NewOrder>,
    pub open_requests: OpenRequests,
}

/// The service's own routes. Those that every service has come from [`operations::routes`].
pub fn routes() -> OpenApiRouter<AppState> {
    let about = "Takes orders. Each is stored as `created`, and becomes `confirmed` or `cancelled` once the inventory has decided.";
    openapi::router("Order service", about, "orders")
        .routes(routes!(reading::list_orders, placing::place_order))
        .routes(routes!(watching::watch_orders))
        .routes(routes!(reading::show_order))
}

/// The OpenAPI document of all routes.
pub fn document() -> Value {
    operations::routes::document(routes())
}
