//! Events whose header block the client cannot read: it loses its connection, or its pull, before anybody sees them.

use std::time::{Duration, Instant};

use processes::raw_nats::MALFORMED_HEADERS;
use serde_json::{Value, json};
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED};
use testing::service::until_nothing_is_owed;
use testing::{Broker, DEADLINE, RawPublisher};

use crate::dead_letters::redrive;
use crate::fixture::{Home, Inventory, Observer, body, confirmed, connected, order};

const PLAIN: &[u8] = b"NATS/1.0\r\n\r\n";
/// The client swallows it.
const HEARTBEAT: &[u8] = b"NATS/1.0 100 Idle Heartbeat\n\n";
/// What good orders may wait for somebody else's message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service, and who sends it bytes as they are.
async fn connected_raw() -> (Broker, Home, Inventory, RawPublisher) {
    let (broker, home, inventory) = connected().await;
    let publisher = RawPublisher::connect(&broker, "order").await;
    (broker, home, inventory, publisher)
}

async fn until_decided(home: &Home, orders: usize) -> Duration {
    let started = Instant::now();
    home.until_reservations_are(orders).await;
    started.elapsed()
}

#[tokio::test]
async fn an_event_with_malformed_headers_is_set_aside_with_its_exact_body_while_the_rest_flows() {
    let (broker, home, inventory, mut publisher) = connected_raw().await;
    let mut expected = Vec::new();
    for (number, headers) in MALFORMED_HEADERS.iter().enumerate() {
        let bad = order(&format!("bad-{number}"), "1", 1);
        publisher.publish(ORDER_CREATED, PLAIN, &order(&format!("a-{number}"), "1", 1)).await;
        publisher.publish(ORDER_CREATED, headers, &bad).await;
        publisher.publish(ORDER_CREATED, PLAIN, &order(&format!("b-{number}"), "1", 1)).await;
        publisher.until_taken().await;
        let waited = until_decided(&home, 2 * (number + 1)).await;
        println!("{waited:?} behind {:?}", String::from_utf8_lossy(headers));
        assert!(waited < PATIENCE, "{waited:?} behind {:?}", String::from_utf8_lossy(headers));
        expected.push(bad.into_bytes());
    }
    home.until_dead_letters_are(expected.len()).await;
    let letters = home.dead_letters().await;
    let reasons: Vec<&str> = letters.iter().map(|(_, reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, vec!["invalid_headers"; expected.len()]);
    let mut bodies: Vec<Vec<u8>> = letters.into_iter().map(|(body, ..)| body).collect();
    bodies.sort();
    expected.sort();
    assert_eq!(bodies, expected);
    until_nothing_is_owed(&broker, INVENTORY_CONSUMER).await;
    home.close(inventory).await;
}

#[tokio::test]
async fn a_burst_of_malformed_headers_among_good_events_holds_nobody_up() {
    let (broker, home, inventory, mut publisher) = connected_raw().await;
    for number in 0..500 {
        let headers = MALFORMED_HEADERS[number % MALFORMED_HEADERS.len()];
        publisher.publish(ORDER_CREATED, headers, &order(&format!("bad-{number}"), "1", 1)).await;
        publisher.publish(ORDER_CREATED, PLAIN, &order(&format!("good-{number}"), "1", 1)).await;
    }
    publisher.until_taken().await;
    let waited = until_decided(&home, 500).await;
    println!("{waited:?} behind a burst");
    assert!(waited < PATIENCE, "{waited:?}");
    home.until_dead_letters_are(500).await;
    until_nothing_is_owed(&broker, INVENTORY_CONSUMER).await;
    home.close(inventory).await;
}

#[tokio::test]
async fn messages_that_the_client_swallows_hold_nobody_up() {
    let (broker, home, inventory, mut publisher) = connected_raw().await;
    for number in 0..1_000 {
        let bad = order(&format!("bad-{number}"), "1", 1);
        publisher.publish(ORDER_CREATED, HEARTBEAT, &bad).await;
    }
    publisher.publish(ORDER_CREATED, PLAIN, &order("good", "1", 1)).await;
    publisher.until_taken().await;
    let waited = until_decided(&home, 1).await;
    assert!(waited < PATIENCE / 2, "{waited:?}");
    home.until_dead_letters_are(1_000).await;
    until_nothing_is_owed(&broker, INVENTORY_CONSUMER).await;
    home.close(inventory).await;
}

#[tokio::test]
async fn a_redrive_of_an_event_with_malformed_headers_handles_it_as_one_without_any() {
    let (broker, home, inventory, mut publisher) = connected_raw().await;
    let mut observer = Observer::of_answers(&broker).await;
    publisher.publish(ORDER_CREATED, MALFORMED_HEADERS[0], &order("a", "1", 1)).await;
    publisher.until_taken().await;
    home.until_dead_letters_are(1).await;
    let headers = home.look().text("SELECT headers FROM dead_letters").await;
    let headers: Value = serde_json::from_str(&headers).unwrap();
    assert_eq!(headers, json!({"unreadable-headers-base64": ["TkFUUy8xLjANCmE6IGINYw0KDQo="]}));
    let redriven = redrive(&inventory, "/1/redrive").await;
    assert_eq!(redriven["outcome"], "done", "{redriven}");
    assert_eq!(body(&observer.next().await), confirmed("a"));
    assert_eq!(home.dead_letters().await, []);
    home.close(inventory).await;
}

#[tokio::test]
async fn a_message_that_the_client_swallows_is_set_aside_although_there_is_no_quiet_moment() {
    let (broker, home, inventory, mut publisher) = connected_raw().await;
    publisher.publish(ORDER_CREATED, HEARTBEAT, &order("bad", "1", 1)).await;
    let (started, mut orders) = (Instant::now(), 0);
    while home.dead_letters().await.is_empty() {
        assert!(started.elapsed() < DEADLINE, "it is not set aside while {orders} orders flow");
        publisher.publish(ORDER_CREATED, PLAIN, &order(&orders.to_string(), "1", 1)).await;
        publisher.until_taken().await;
        orders += 1;
    }
    until_decided(&home, orders).await;
    until_nothing_is_owed(&broker, INVENTORY_CONSUMER).await;
    home.close(inventory).await;
}
