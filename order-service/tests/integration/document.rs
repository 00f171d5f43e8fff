//! The OpenAPI document, committed and served.

use testing::contract;

use crate::fixture::alone;

#[test]
fn the_committed_document_is_the_one_that_the_routes_make() {
    contract::assert_committed("docs/api/order-service.json", &order_service::http::document());
}

#[test]
fn the_document_says_of_every_operation_whether_it_needs_a_token_and_of_every_time_its_format() {
    contract::assert_complete(&order_service::http::document());
}

#[tokio::test]
async fn the_document_and_its_page_are_served_and_refer_to_no_other_origin() {
    let (_files, app) = alone(&[]).await;
    contract::assert_served(&app.url, &order_service::http::document()).await;
    app.stop().await;
}
