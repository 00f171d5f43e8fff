//! Exact batches, decided in one transaction on a real database, with no broker between test and rule.

use inventory_service::stock::reservation;
use inventory_service::stock::reservation::DecideOrders;
use shared::clock::now_ms;
use shared::contract::events::{EventBody, OrderCreated, Received};
use shared::contract::subjects::ORDER_CREATED;
use shared::delivery::handler::AnyHandler;
use shared::storage::Database;
use testing::service::{delivery, word};

use crate::fixture::{Home, order};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Product 1 has 10, product 2 has 5.
async fn stocked() -> (Home, Database) {
    let home = Home::without_broker();
    let database = home.stocked().await;
    (home, database)
}

/// Decides `(order, product, quantity)` in one committed transaction; each result as one word.
async fn reserve(database: &Database, batch: &[(&str, &str, i64)]) -> Vec<&'static str> {
    let orders: Vec<_> =
        batch.iter().map(|(id, product_id, quantity)| received(id, product_id, *quantity)).collect();
    let mut tx = database.begin().await.unwrap();
    let outcomes = reservation::reserve(&mut tx, &orders, now_ms()).await.unwrap();
    tx.commit().await.unwrap();
    outcomes.iter().map(word).collect()
}

fn received(order_id: &str, product_id: &str, quantity: i64) -> Received<OrderCreated> {
    let event = OrderCreated::decode(order(order_id, product_id, quantity).as_bytes()).unwrap();
    Received { event, traceparent: TRACE.to_owned(), time_ms: None, attempt: 1 }
}

/// The orders whose answers are in the outbox, in its order.
async fn answered(home: &Home) -> Vec<String> {
    home.look().texts("SELECT order_id FROM outbox ORDER BY batch, place").await
}

#[tokio::test]
async fn several_orders_of_one_product_in_one_batch_take_their_sum_and_the_last_that_do_not_fit_are_refused()
{
    let (home, database) = stocked().await;
    let batch = [
        ("a", "1", 4),
        ("b", "2", 5),
        ("c", "1", 5),
        ("d", "1", 2),
        ("e", "1", 1),
        ("f", "1", 1),
        ("g", "9", 1),
    ];
    let expected =
        ["confirmed", "confirmed", "confirmed", "cancelled", "confirmed", "cancelled", "cancelled"];
    assert_eq!(reserve(&database, &batch).await, expected);
    assert_eq!((home.stock("1").await, home.stock("2").await), (0, 0));
    assert_eq!(answered(&home).await, ["a", "b", "c", "d", "e", "f", "g"]);
    let reasons = home.number("SELECT count(*) FROM reservations WHERE reason = 'insufficient_stock'").await;
    assert_eq!(reasons, 2, "d and f");
    home.audit().await;
}

#[tokio::test]
async fn one_order_several_times_in_one_batch_is_decided_once_and_answered_each_time() {
    let (home, database) = stocked().await;
    let twice = [("a", "1", 6), ("a", "1", 6), ("b", "1", 5), ("b", "1", 5), ("a", "1", 6)];
    let expected = ["confirmed", "repeated", "cancelled", "repeated", "repeated"];
    assert_eq!(reserve(&database, &twice).await, expected);
    assert_eq!(reserve(&database, &[("b", "1", 5), ("c", "1", 4)]).await, ["repeated", "confirmed"]);
    assert_eq!(home.stock("1").await, 0);
    assert_eq!(answered(&home).await, ["a", "a", "b", "b", "a", "b", "c"]);
    assert_eq!(home.number("SELECT count(DISTINCT message_id) FROM outbox").await, 7);
    assert_eq!(home.number("SELECT count(DISTINCT body) FROM outbox").await, 3, "the same answer each time");
    home.audit().await;
}

#[tokio::test]
async fn a_conflicting_repeat_within_its_own_batch_is_refused_and_not_answered() {
    let (home, database) = stocked().await;
    let batch = [("a", "1", 1), ("a", "1", 2), ("a", "2", 1), ("a", "1", 1)];
    let expected = ["confirmed", "conflicting_repeat", "conflicting_repeat", "repeated"];
    assert_eq!(reserve(&database, &batch).await, expected);
    assert_eq!((home.stock("1").await, home.stock("2").await), (9, 5));
    assert_eq!(answered(&home).await, ["a", "a"]);
    home.audit().await;
}

#[tokio::test]
async fn a_batch_that_is_rolled_back_leaves_nothing_behind() {
    let (home, database) = stocked().await;
    let mut tx = database.begin().await.unwrap();
    reservation::reserve(&mut tx, &[received("a", "1", 3)], now_ms()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!((home.stock("1").await, home.reservations().await, home.outbox().await), (10, 0, 0));
    assert_eq!(reserve(&database, &[("a", "1", 3)]).await, ["confirmed"]);
    home.audit().await;
}

#[tokio::test]
async fn outcomes_stand_in_the_order_of_the_deliveries_however_many_of_them_are_garbage() {
    let (home, database) = stocked().await;
    let bodies =
        ["garbage", &order("a", "1", 1), "{}", &order("a", "1", 1), &order("a", "1", 9), &order("b", "9", 1)];
    let deliveries = bodies.map(|body| delivery(ORDER_CREATED, body));
    let mut tx = database.begin().await.unwrap();
    let outcomes = DecideOrders.decide(&mut tx, deliveries.iter().collect()).await.unwrap();
    tx.commit().await.unwrap();
    let words: Vec<&str> = outcomes.iter().map(word).collect();
    let expected =
        ["invalid_event", "confirmed", "invalid_event", "repeated", "conflicting_repeat", "cancelled"];
    assert_eq!(words, expected);
    home.audit().await;
}
