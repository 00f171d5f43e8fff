//! A message that can never be handled is set aside with its reason, and the rest flows.

use serde_json::json;
use simulator::testing::{Broker, wait_until};

use crate::{
    bus::{Observer, Publisher, confirmed, connection, order},
    fixture::Home,
};

#[tokio::test]
async fn poison_among_good_events_is_set_aside_with_its_reason_while_the_rest_flows() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    // The events come first, so that the service meets poison and good ones in the same batches.
    connection(&broker).await;
    let (publisher, mut observer) = (Publisher::new(&broker).await, Observer::new(&broker).await);
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
    wait_until("all poison is set aside", async || home.dead_letters().await.len() == poison.len()).await;
    for ((found, reason, detail, attempts), (event, says)) in
        home.dead_letters().await.into_iter().zip(poison)
    {
        assert_eq!((found, reason.as_str(), attempts), (event.into_bytes(), "invalid_event", 1));
        assert!(detail.contains(says), "{says}: {detail}");
    }
    let ids = home.number("SELECT count(*) FROM reservations WHERE order_id LIKE 'good-%'").await;
    assert_eq!((ids, home.reservations().await), (7, 7));
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn the_same_poison_again_counts_an_attempt_and_keeps_its_headers() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let publisher = Publisher::new(&broker).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.append("x-note", "one");
    headers.append("x-note", "two");
    for _ in 0..3 {
        publisher.publish_with(headers.clone(), &b"\xff\xfenot text"[..]).await;
    }
    wait_until("the third attempt is counted", async || {
        home.dead_letters().await.first().is_some_and(|(_, _, _, attempts)| *attempts == 3)
    })
    .await;
    let letters = home.dead_letters().await;
    assert_eq!(letters.len(), 1, "unique by subject and body");
    assert_eq!(letters[0].0, b"\xff\xfenot text", "exactly as it came");
    let stored: String =
        sqlx::query_scalar("SELECT headers FROM dead_letters").fetch_one(&home.reader().await).await.unwrap();
    assert_eq!(stored, r#"{"x-note":["one","two"]}"#);
    let metrics = inventory.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains(r#"dead_letters_total{consumer="inventory-service",reason="invalid_event"}"#),
        "{metrics}"
    );
    inventory.stop().await;
    home.audit().await;
}
