//! Events whose header block the client cannot read: it loses its connection, or its pull, before anybody sees them.

use std::time::{Duration, Instant};

use processes::raw_nats::MALFORMED_HEADERS;
use serde_json::{Value, json};
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, STREAM};
use testing::{Broker, DEADLINE, RawPublisher, wait_until};

use crate::bus::{Observer, body, confirmed, order};
use crate::dead_letters::redrive;
use crate::fixture::Home;

/// What good orders may wait for somebody else's message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing is owed, so nothing malformed can be delivered again.
async fn until_nothing_is_owed(broker: &Broker) {
    let context = async_nats::jetstream::new(broker.connect("observer").await);
    wait_until("the consumer owes nothing", async || {
        let consumer: async_nats::jetstream::consumer::PullConsumer =
            context.get_consumer_from_stream(INVENTORY_CONSUMER, STREAM).await.unwrap();
        let info = consumer.cached_info();
        info.num_ack_pending == 0 && info.num_pending == 0
    })
    .await;
}

async fn until_decided(home: &Home, orders: usize) -> Duration {
    let started = Instant::now();
    wait_until(&format!("{orders} orders are decided"), async || home.reservations().await == orders as i64)
        .await;
    started.elapsed()
}

#[tokio::test]
async fn an_event_with_malformed_headers_is_set_aside_with_its_exact_body_while_the_rest_flows() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let mut publisher = RawPublisher::connect(&broker, "order").await;
    let mut expected = Vec::new();
    for (number, headers) in MALFORMED_HEADERS.iter().enumerate() {
        let bad = order(&format!("bad-{number}"), "1", 1);
        publisher.publish(ORDER_CREATED, b"NATS/1.0\r\n\r\n", &order(&format!("a-{number}"), "1", 1)).await;
        publisher.publish(ORDER_CREATED, headers, &bad).await;
        publisher.publish(ORDER_CREATED, b"NATS/1.0\r\n\r\n", &order(&format!("b-{number}"), "1", 1)).await;
        publisher.until_taken().await;
        let waited = until_decided(&home, 2 * (number + 1)).await;
        println!("{waited:?} behind {:?}", String::from_utf8_lossy(headers));
        assert!(waited < PATIENCE, "{waited:?} behind {:?}", String::from_utf8_lossy(headers));
        expected.push(bad.into_bytes());
    }
    wait_until("all are set aside", async || home.dead_letters().await.len() == expected.len()).await;
    let letters = home.dead_letters().await;
    let reasons: Vec<&str> = letters.iter().map(|(_, reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, vec!["invalid_headers"; expected.len()]);
    let mut bodies: Vec<Vec<u8>> = letters.into_iter().map(|(body, ..)| body).collect();
    bodies.sort();
    expected.sort();
    assert_eq!(bodies, expected);
    until_nothing_is_owed(&broker).await;
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn a_burst_of_malformed_headers_among_good_events_holds_nobody_up() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let mut publisher = RawPublisher::connect(&broker, "order").await;
    for number in 0..500 {
        let headers = MALFORMED_HEADERS[number % MALFORMED_HEADERS.len()];
        publisher.publish(ORDER_CREATED, headers, &order(&format!("bad-{number}"), "1", 1)).await;
        publisher
            .publish(ORDER_CREATED, b"NATS/1.0\r\n\r\n", &order(&format!("good-{number}"), "1", 1))
            .await;
    }
    publisher.until_taken().await;
    let waited = until_decided(&home, 500).await;
    println!("{waited:?} behind a burst");
    assert!(waited < PATIENCE, "{waited:?}");
    wait_until("all are set aside", async || home.dead_letters().await.len() == 500).await;
    until_nothing_is_owed(&broker).await;
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn messages_that_the_client_swallows_hold_nobody_up() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let mut publisher = RawPublisher::connect(&broker, "order").await;
    for number in 0..1_000 {
        let bad = order(&format!("bad-{number}"), "1", 1);
        publisher.publish(ORDER_CREATED, b"NATS/1.0 100 Idle Heartbeat\n\n", &bad).await;
    }
    publisher.publish(ORDER_CREATED, b"NATS/1.0\r\n\r\n", &order("good", "1", 1)).await;
    publisher.until_taken().await;
    let waited = until_decided(&home, 1).await;
    assert!(waited < PATIENCE / 2, "{waited:?}");
    wait_until("all are set aside", async || home.dead_letters().await.len() == 1_000).await;
    until_nothing_is_owed(&broker).await;
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn a_redrive_of_an_event_with_malformed_headers_handles_it_as_one_without_any() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let (mut publisher, mut observer) =
        (RawPublisher::connect(&broker, "order").await, Observer::new(&broker).await);
    publisher.publish(ORDER_CREATED, MALFORMED_HEADERS[0], &order("a", "1", 1)).await;
    publisher.until_taken().await;
    wait_until("it is set aside", async || home.dead_letters().await.len() == 1).await;
    let headers: String =
        sqlx::query_scalar("SELECT headers FROM dead_letters").fetch_one(&home.reader().await).await.unwrap();
    let headers: Value = serde_json::from_str(&headers).unwrap();
    assert_eq!(headers, json!({"unreadable-headers-base64": ["TkFUUy8xLjANCmE6IGINYw0KDQo="]}));
    let redriven = redrive(&inventory, "/1/redrive").await;
    assert_eq!(redriven["outcome"], "done", "{redriven}");
    assert_eq!(body(&observer.next().await), confirmed("a"));
    assert_eq!(home.dead_letters().await, []);
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn a_message_that_the_client_swallows_is_set_aside_although_there_is_no_quiet_moment() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let mut publisher = RawPublisher::connect(&broker, "order").await;
    publisher.publish(ORDER_CREATED, b"NATS/1.0 100 Idle Heartbeat\n\n", &order("bad", "1", 1)).await;
    let (started, mut orders) = (Instant::now(), 0);
    while home.dead_letters().await.is_empty() {
        assert!(started.elapsed() < DEADLINE, "it is not set aside while {orders} orders flow");
        publisher.publish(ORDER_CREATED, b"NATS/1.0\r\n\r\n", &order(&orders.to_string(), "1", 1)).await;
        publisher.until_taken().await;
        orders += 1;
    }
    until_decided(&home, orders).await;
    until_nothing_is_owed(&broker).await;
    inventory.stop().await;
    home.audit().await;
}
