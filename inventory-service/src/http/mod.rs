//! The routes of the inventory service. Stock is public; changing it and the admin routes are not.

mod stock_changes;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRef, State},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use shared::{
    broker::adoption::Healing,
    delivery::dead_letter::redrive::DeadLetters,
    http::{
        answer::with_defaults,
        auth::{Admin, StockKeeper, Tokens},
        openapi,
        paging::{PageParameters, PageQuery},
        path::Name,
        problem::Problem,
        read::read,
    },
    operations::{
        probes::{self, Operations},
        routes::{
            adopt::{self, Adopted},
            dead_letters,
        },
    },
    storage::{Database, commit_queue::CommitQueue},
};

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    families::FAMILIES,
    stock::{
        self, Product,
        adjustment::NewAdjustment,
        movement::{self, Movement, Position},
    },
};

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// Verifies bearer tokens.
    pub tokens: Tokens,
    /// Where stock changes go.
    pub changes: CommitQueue<NewAdjustment>,
    /// Where stock is read.
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
    openapi::router("Inventory service", "Keeps stock, and takes it for orders.", "inventory")
        .routes(routes!(list_stock))
        .routes(routes!(show_stock, stock_changes::correct))
        .routes(routes!(stock_changes::restock))
        .routes(routes!(list_movements))
        .merge(dead_letters::routes())
        .routes(routes!(adopt))
        .merge(probes::probes())
        .routes(routes!(metrics))
}

/// What is left of the products, in the order of their ids
///
/// As every list it ends after 50 unless `limit` says otherwise, and `Link` leads to the rest.
#[utoipa::path(get, path = "/inventory", tag = "inventory", params(PageParameters), responses(
    (status = 200, description = "Up to `limit`; `Link` leads to the next ones.", body = [Product], headers(
        ("link" = Option<String>, description = "`<…>; rel=\"next\"` while there is a next page."),
    )),
))]
async fn list_stock(State(database): State<Database>, query: PageQuery) -> Result<Response, Problem> {
    let last: String = query.key()?.unwrap_or_default();
    let page = stock::behind(database.reader(), &last, query.rows_to_read());
    Ok(query.page(read(&database, page).await?, |product| product.product_id.clone()))
}

/// What is left of one product
#[utoipa::path(get, path = "/inventory/{productId}", tag = "inventory", params(("productId" = String, Path)), responses(
    (status = 200, description = "The product.", body = Product),
))]
async fn show_stock(
    State(database): State<Database>,
    Name(product_id): Name<String>,
) -> Result<Response, Problem> {
    let product = read(&database, stock::find(database.reader(), &product_id)).await?;
    Ok(Json(product.ok_or(Problem::NotFound)?).into_response())
}

/// What moved a product's stock, the newest first
///
/// Adjustments, and orders that took from it. Their deltas add up to the stock: that is why an order that was refused is not
/// among them.
#[utoipa::path(get, path = "/inventory/{productId}/movements", tag = "inventory",
    security(("token" = ["inventory:write"])),
    params(("productId" = String, Path), PageParameters),
    responses(
        (status = 200, description = "Up to `limit`; `Link` leads to the next ones.", body = [Movement], headers(
            ("link" = Option<String>, description = "`<…>; rel=\"next\"` while there is a next page."),
        )),
    ))]
async fn list_movements(
    _: StockKeeper,
    State(database): State<Database>,
    Name(product_id): Name<String>,
    query: PageQuery,
) -> Result<Response, Problem> {
    let behind = query.key()?.unwrap_or_else(Position::start);
    let reader = database.reader();
    read(&database, stock::find(reader, &product_id)).await?.ok_or(Problem::NotFound)?;
    let page = movement::newest_behind(reader, &product_id, &behind, query.rows_to_read());
    Ok(query.page(read(&database, page).await?, Movement::position))
}

/// Counters and gauges for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "probes", responses(
    (status = 200, description = "The text format 0.0.4.", body = String, content_type = "text/plain"),
))]
async fn metrics(State(operations): State<Arc<Operations>>) -> Response {
    operations.metrics("inventory-service", env!("CARGO_PKG_VERSION"), FAMILIES).await
}

/// Take over the consumer that belongs to another database
///
/// For a service that is not ready for that reason. The other database must be stopped for good.
#[utoipa::path(post, path = adopt::PATH, tag = "admin", security(("token" = ["admin"])), responses(
    (status = 200, description = "What was done.", body = Adopted),
))]
async fn adopt(admin: Admin, State(operations): State<Arc<Operations>>) -> Result<Response, Problem> {
    operations.adopt(admin, Healing::DecideAgain).await
}
