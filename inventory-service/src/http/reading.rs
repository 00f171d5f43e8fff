//! What is left, and what moved it: `GET /inventory`, `/inventory/{productId}` and its movements.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use shared::http::auth::StockKeeper;
use shared::http::database::read;
use shared::http::paging::{PageParameters, PageQuery};
use shared::http::problem::Problem;
use shared::http::uri::Name;
use shared::storage::Database;

use crate::stock::movement::{self, Movement, Position};
use crate::stock::{self, Product};

/// What is left of the products, in the order of their ids
///
/// As every list it ends after 50 unless `limit` says otherwise, and `Link` leads to the rest.
#[utoipa::path(get, path = "/inventory", tag = "inventory", params(PageParameters), responses(
    (status = 200, description = "Up to `limit`; `Link` leads to the next ones.", body = [Product], headers(
        ("link" = Option<String>, description = "`<…>; rel=\"next\"` while there is a next page."),
    )),
))]
pub async fn list_stock(State(database): State<Database>, query: PageQuery) -> Result<Response, Problem> {
    let last: String = query.key()?.unwrap_or_default();
    let page = stock::behind(database.reader(), &last, query.rows_to_read());
    Ok(query.page(read(&database, page).await?, |product| product.product_id.clone()))
}

/// What is left of one product
#[utoipa::path(get, path = "/inventory/{productId}", tag = "inventory", params(("productId" = String, Path)), responses(
    (status = 200, description = "The product.", body = Product),
))]
pub async fn show_stock(
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
pub async fn list_movements(
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
