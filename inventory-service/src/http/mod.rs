//! The routes of the inventory service. Stock is public; changing it is not.

mod reading;
mod stock_changes;

use axum::extract::FromRef;
use serde_json::Value;
use shared::http::auth::Tokens;
use shared::http::openapi;
use shared::operations;
use shared::storage::Database;
use shared::storage::commit_queue::CommitQueue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::stock::adjustment::NewAdjustment;

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    pub tokens: Tokens,
    pub database: Database,
    pub queue: CommitQueue<NewAdjustment>,
}

/// The service's own routes. Those that every service has come from [`operations::routes`].
pub fn routes() -> OpenApiRouter<AppState> {
    openapi::router("Inventory service", "Keeps stock, and takes it for orders.", "inventory")
        .routes(routes!(reading::list_stock))
        .routes(routes!(reading::show_stock, stock_changes::correct))
        .routes(routes!(stock_changes::restock))
        .routes(routes!(reading::list_movements))
}

/// The OpenAPI document of all routes.
pub fn document() -> Value {
    operations::routes::document(routes())
}
