//! The routes of the inventory service. Stock is public; the admin routes are not.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRef, Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use shared::{
    adoption::{ADOPT_PATH, Healing},
    auth::{Admin, Tokens},
    dead_letter::{self, redrive::DeadLetters},
    http::{read, with_defaults},
    operations::{self, Operations},
    problem::Problem,
    sqlite::Database,
};

use crate::stock;

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// Verifies bearer tokens.
    pub tokens: Tokens,
    /// Where stock is read.
    pub database: Database,
    /// Probes and metrics.
    pub operations: Arc<Operations>,
    /// What can never succeed, for the admin routes.
    pub dead_letters: DeadLetters,
}

/// All routes.
pub fn routes(state: AppState) -> Router {
    let routes = Router::new()
        .route("/inventory", get(list_stock))
        .route("/inventory/{productId}", get(show_stock))
        .route("/metrics", get(metrics))
        .route(ADOPT_PATH, post(adopt))
        .merge(operations::probes())
        .merge(dead_letter::routes::routes())
        .with_state(state);
    with_defaults(routes)
}

async fn list_stock(State(database): State<Database>) -> Result<Response, Problem> {
    Ok(Json(read(&database, stock::all(database.reader())).await?).into_response())
}

async fn show_stock(
    State(database): State<Database>,
    product_id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(product_id) = product_id.map_err(|_| Problem::NotFound)?;
    let product = read(&database, stock::find(database.reader(), &product_id)).await?;
    Ok(Json(product.ok_or(Problem::NotFound)?).into_response())
}

async fn metrics(State(operations): State<Arc<Operations>>) -> Response {
    operations.metrics("inventory-service", env!("CARGO_PKG_VERSION")).await
}

async fn adopt(admin: Admin, State(operations): State<Arc<Operations>>) -> Result<Response, Problem> {
    operations.adopt(admin, Healing::DecideAgain).await
}
