//! A message that can never be handled is set aside with its reason, and the rest flows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use inventory_service::stock::reservation::DecideOrders;
use serde_json::json;
use shared::contract::events::{OrderCreated, Received};
use shared::delivery::consumer::{Consumed, Consumer};
use shared::delivery::handler::{EventHandler, Outcome};
use shared::storage::Tx;
use testing::{Broker, wait_until};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Home, Publisher, confirmed, connected, connection, ends, order};

/// Decides orders as the service does, until one is of the product that it cannot bear.
struct Panicking;

impl EventHandler for Panicking {
    type Event = OrderCreated;

    async fn handle(&self, tx: &mut Tx, batch: &[Received<OrderCreated>]) -> Result<Vec<Outcome>> {
        let outcomes = DecideOrders.handle(tx, batch).await?;
        for one in batch {
            assert!(one.event.product_id != "unbearable", "product unbearable has no {}", "arithmetic");
        }
        Ok(outcomes)
    }
}

/// Decides orders as the service does, and then returns one outcome too few or too many.
struct Miscounting {
    too_many: bool,
}

impl EventHandler for Miscounting {
    type Event = OrderCreated;

    async fn handle(&self, tx: &mut Tx, batch: &[Received<OrderCreated>]) -> Result<Vec<Outcome>> {
        let mut outcomes = DecideOrders.handle(tx, batch).await?;
        match self.too_many {
            true => outcomes.push(Outcome::Done("counted")),
            false => drop(outcomes.pop()),
        }
        Ok(outcomes)
    }
}

#[tokio::test]
async fn a_handler_that_miscounts_its_outcomes_fails_and_nothing_of_it_is_kept_or_acknowledged() {
    let broker = Broker::start().await;
    let (home, connection) = (Home::at(&broker), connection(&broker).await);
    let database = home.stocked().await;
    let (publisher, observer) = ends(&broker).await;
    let durable = connection.open_consumer().await.unwrap();
    publisher.place(&["a", "b", "c"]).await;
    for too_many in [false, true] {
        let (database, broker) = (database.clone(), connection.clone());
        let consumer = Consumer::new(database, broker, Arc::new(Miscounting { too_many }));
        while consumer.consume_once(&*durable).await.unwrap() == Consumed::Handled(0) {}
        assert_eq!((home.reservations().await, home.outbox().await), (0, 0), "rolled back");
        assert_eq!(home.dead_letters().await, []);
        assert_eq!(observer.unacknowledged().await, 3);
    }
    home.audit().await;
}

#[tokio::test]
async fn a_handler_that_panics_on_a_message_sets_it_aside_and_the_rest_of_its_batch_flows() {
    shared::operations::telemetry::metrics();
    let broker = Broker::start().await;
    let (home, connection) = (Home::at(&broker), connection(&broker).await);
    let database = home.stocked().await;
    let publisher = Publisher::order(&broker).await;
    // They wait before the consumer starts, so that the panic is in the middle of a batch.
    let unbearable = order("bad", "unbearable", 1);
    for event in [order("a", "1", 1), unbearable.clone(), order("b", "1", 2)] {
        publisher.publish(event).await;
    }
    let consumer = Consumer::new(database, connection.clone(), Arc::new(Panicking));
    let (shutdown, started) = (CancellationToken::new(), Instant::now());
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { consumer.run(shutdown).await }
    });
    home.until_reservations_are(2).await;
    home.until_dead_letters_are(1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let (body, reason, detail, _) = home.dead_letters().await.remove(0);
    assert_eq!((body, reason.as_str()), (unbearable.into_bytes(), "handler_panicked"));
    assert_eq!(detail, "product unbearable has no arithmetic");
    publisher.publish(order("c", "1", 3)).await;
    home.until_reservations_are(3).await;
    assert_eq!((home.stock("1").await, home.dead_letters().await.len()), (4, 1), "nothing is half done");
    assert!(shared::operations::telemetry::metrics().render().contains("handler_panics_total"));
    shutdown.cancel();
    running.await.unwrap();
    home.audit().await;
}

#[tokio::test]
async fn poison_among_good_events_is_set_aside_with_its_reason_while_the_rest_flows() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    // The events come first, so that the service meets poison and good ones in the same batches.
    connection(&broker).await;
    let (publisher, mut observer) = ends(&broker).await;
    let (long, large) = ("x".repeat(65), "y".repeat(100 * 1024));
    let poison = [
        ("garbage".to_owned(), "expected value"),
        (String::new(), "EOF"),
        ("[1,2]".to_owned(), "invalid type"),
        (json!({"orderId": "p", "productId": "1"}).to_string(), "missing field `quantity`"),
        (json!({"orderId": "p", "productId": "1", "quantity": "1"}).to_string(), "invalid type: string"),
        (
            json!({"orderId": "p", "productId": "1", "quantity": 1.5}).to_string(),
            "invalid type: floating point",
        ),
        (order("p", "1", 0), "quantity must be from 1 to 1000000"),
        (order("p", "1", -1), "quantity must be from 1 to 1000000"),
        (order("p", "1", 1_000_000_000), "quantity must be from 1 to 1000000"),
        (order("", "1", 1), "orderId must have 1 to 64 characters"),
        (order("p", "", 1), "productId must have 1 to 64 characters"),
        (order(&long, "1", 1), "orderId must have 1 to 64 characters"),
        (order("p", &long, 1), "productId must have 1 to 64 characters"),
        (order(&large, "1", 1), "orderId must have 1 to 64 characters"),
    ];
    let mut good = Vec::new();
    for (number, (event, _)) in poison.iter().enumerate() {
        publisher.publish(event.clone()).await;
        if number % 2 == 0 {
            let order_id = format!("good-{number:02}");
            publisher.publish(order(&order_id, "1", 1)).await;
            good.push(confirmed(&order_id));
        }
    }
    let inventory = home.start(&[]).await;
    assert_eq!(observer.next_bodies(good.len()).await, good);
    home.until_dead_letters_are(poison.len()).await;
    for ((found, reason, detail, attempts), (event, says)) in
        home.dead_letters().await.into_iter().zip(poison)
    {
        assert_eq!((found, reason.as_str(), attempts), (event.into_bytes(), "invalid_event", 1));
        assert!(detail.contains(says), "{says}: {detail}");
    }
    let ids = home.number("SELECT count(*) FROM reservations WHERE order_id LIKE 'good-%'").await;
    assert_eq!((ids, home.reservations().await), (7, 7));
    home.close(inventory).await;
}

#[tokio::test]
async fn the_same_poison_again_counts_an_attempt_and_keeps_its_headers() {
    let (broker, home, inventory) = connected().await;
    let publisher = Publisher::order(&broker).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.append("x-note", "one");
    headers.append("x-note", "two");
    for _ in 0..3 {
        publisher.publish_with(headers.clone(), &b"\xff\xfenot text"[..]).await;
    }
    let attempts = async || home.dead_letters().await.first().map(|(_, _, _, attempts)| *attempts);
    wait_until("the third attempt is counted", async || attempts().await == Some(3)).await;
    let letters = home.dead_letters().await;
    assert_eq!(letters.len(), 1, "unique by subject and body");
    assert_eq!(letters[0].0, b"\xff\xfenot text", "exactly as it came");
    let stored = home.look().text("SELECT headers FROM dead_letters").await;
    assert_eq!(stored, r#"{"x-note":["one","two"]}"#);
    let metrics = inventory.metrics().await;
    let line = r#"dead_letters_total{consumer="inventory-service",reason="invalid_event"}"#;
    assert!(metrics.contains(line), "{metrics}");
    home.close(inventory).await;
}
