//! `GET /orders` and `GET /orders/{id}`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use shared::contract::events::ProductId;
use shared::contract::status::Status;
use shared::http::auth::User;
use shared::http::database::read;
use shared::http::paging::{PageParameters, PageQuery};
use shared::http::problem::Problem;
use shared::http::uri::Name;
use shared::storage::Database;
use utoipa::IntoParams;

use super::open_requests::OpenRequests;
use super::prefer::{self, Wait};
use super::view::{OrderDetail, OrderView};
use crate::orders::list::{self, Filter};

/// Which orders a list holds.
#[derive(Deserialize, Serialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// Only orders with this status.
    #[param(nullable = false)]
    status: Option<Status>,
    /// Only orders of this product.
    #[param(nullable = false, inline)]
    product_id: Option<ProductId>,
}

/// Your orders
///
/// Newest first. With the scope `admin`, everybody's.
#[utoipa::path(get, path = "/orders", tag = "orders", security(("token" = [])),
    params(OrdersQuery, PageParameters),
    responses(
        (status = 200, description = "One page. An order is on exactly one page, however many arrive meanwhile.", body = [OrderView], headers(
            ("link" = Option<String>, description = "`rel=\"next\"`: the next page (RFC 8288). Absent on the last."),
        )),
    ))]
pub async fn list_orders(
    user: User,
    State(database): State<Database>,
    query: PageQuery<OrdersQuery>,
) -> Result<Response, Problem> {
    let filter = Filter {
        owner: owner(&user),
        status: query.filters.status,
        product_id: query.filters.product_id.as_ref().map(ProductId::as_str),
    };
    let below: Option<i64> = query.key()?;
    let page = list::page_of(&database, filter, below, query.rows_to_read());
    let views = read(&database, page).await?.into_iter().map(OrderView::from).collect();
    Ok(query.page(views, |order: &OrderView| order.number))
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
        Wait,
    ),
    responses(
        (status = 200, description = "The order as it is now.", body = OrderDetail, headers(
            ("preference-applied" = Option<String>, description = "`wait=N` when the preference was honoured."),
        )),
    ))]
pub async fn show_order(
    user: User,
    State(open_requests): State<OpenRequests>,
    Name(id): Name<String>,
    Wait(wait): Wait,
) -> Result<Response, Problem> {
    let (order, applied) = open_requests.find(owner(&user), &id, wait).await?;
    Ok(prefer::answered(applied, Json(OrderDetail::from(order.ok_or(Problem::NotFound)?))))
}
