//! The routes of the inventory service. Stock is public; changing it is not.

mod stock_changes;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use shared::http::auth::{StockKeeper, Tokens};
use shared::http::database::read;
use shared::http::openapi;
use shared::http::paging::{PageParameters, PageQuery};
use shared::http::problem::Problem;
use shared::http::uri::Name;
use shared::operations;
use shared::storage::Database;
use shared::storage::commit_queue::CommitQueue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::stock::adjustment::NewAdjustment;
use crate::stock::movement::{self, Movement, Position};
use crate::stock::{self, Product};

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    pub tokens: Tokens,
    pub database: Database,
    pub changes: CommitQueue<NewAdjustment>,
}

/// The service's own routes. Those that every service has come from [`operations::routes`].
pub fn routes() -> OpenApiRouter<AppState> {
    openapi::router("Inventory service", "Keeps stock, and takes it for orders.", "inventory")
        .routes(routes!(list_stock))
        .routes(routes!(show_stock, stock_changes::correct))
        .routes(routes!(stock_changes::restock))
        .routes(routes!(list_movements))
}

/// The OpenAPI document of all routes.
pub fn document() -> Value {
    operations::routes::document(routes())
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
