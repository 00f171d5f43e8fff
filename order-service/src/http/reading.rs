//! `GET /orders` and `GET /orders/{id}`.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use shared::{
    contract::{events::ID_MAX_CHARS, status::Status},
    http::{
        auth::User,
        paging::{PageParameters, PageQuery},
        problem::Problem,
        read::read,
    },
    storage::Database,
    text::is_text,
};
use utoipa::IntoParams;

use super::{
    prefer::{self, WaitParameter},
    view::{OrderDetail, OrderView},
    waiting::Waiting,
};
use crate::orders::list::{self, Wanted};

// Only for the document, like `PageParameters`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
struct Filters {
    /// Only orders with this status.
    #[param(nullable = false)]
    status: Option<Status>,
    /// Only orders of this product.
    #[param(
        rename = "productId",
        nullable = false,
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00]+$"
    )]
    product_id: Option<String>,
}

/// Your orders
///
/// Newest first. With the scope `admin`, everybody's.
#[utoipa::path(get, path = "/orders", tag = "orders", security(("token" = [])),
    params(Filters, PageParameters),
    responses(
        (status = 200, description = "One page. An order is on exactly one page, however many arrive meanwhile.", body = [OrderView], headers(
            ("link" = Option<String>, description = "`rel=\"next\"`: the next page (RFC 8288). Absent on the last."),
        )),
    ))]
pub async fn list_orders(
    user: User,
    State(database): State<Database>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = PageQuery::read(&uri, &["status", "productId"])?;
    let wanted = Wanted {
        owner: owner(&user),
        status: query.filter("status").map(status_of).transpose()?,
        product_id: query.filter("productId").map(product_id_of).transpose()?,
    };
    let below: Option<String> = query.key()?;
    let page = list::page_of(database.reader(), wanted, below.as_deref(), query.rows_to_read());
    let orders = read(&database, page).await?;
    let views = orders.into_iter().map(OrderView::from).collect();
    Ok(query.page(uri.path(), views, |order: &OrderView| order.id().to_owned()))
}

fn status_of(text: &str) -> Result<Status, Problem> {
    text.parse().map_err(|_| Problem::invalid("status", "must be created, confirmed or cancelled"))
}

/// The text, if it can be a product's id.
pub fn product_id_of(text: &str) -> Result<&str, Problem> {
    if is_text(text, ID_MAX_CHARS) {
        return Ok(text);
    }
    let rule = format!("must be a string of 1 to {ID_MAX_CHARS} characters, none of them U+0000");
    Err(Problem::invalid("productId", rule))
}

/// Whose orders the user may see; `None` for everybody's.
fn owner(user: &User) -> Option<&str> {
    (!user.is_admin).then_some(user.id.as_str())
}

/// One of your orders, with its history
///
/// With the scope `admin`, anybody's.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", security(("token" = [])), 
    params(
        ("id" = String, Path),
        WaitParameter,
    ),
    responses(
        (status = 200, description = "The order as it is now.", body = OrderDetail, headers(
            ("preference-applied" = Option<String>, description = "`wait=N` when the preference was honoured."),
        )),
    ))]
pub async fn show_order(
    user: User,
    State(waiting): State<Waiting>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NotFound)?;
    let (owner, wait) = (owner(&user), prefer::wait(&headers));
    let (order, applied) = waiting.find(owner, &id, wait).await?;
    let mut response = Json(OrderDetail::from(order.ok_or(Problem::NotFound)?)).into_response();
    prefer::note_applied(&mut response, applied);
    Ok(response)
}
