//! Ids that no header can carry: refused when they come, and set aside where an older version has stored them.

use testing::Broker;

use crate::dead_letters::redrive;
use crate::fixture::{Home, body, confirmed, connected, ends, order};

#[tokio::test]
async fn an_order_id_that_no_header_can_carry_is_a_dead_letter_and_holds_nobody_up() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;
    let ids = ["demo\n1", "demo\r1", "demo\u{7f}", "\u{85}demo", " demo", "demo\t", "demo\u{3000}"];
    for id in ids {
        publisher.publish(order(id, "1", 1)).await;
    }
    publisher.publish(order("good one", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("good one"));
    home.until_dead_letters_are(ids.len()).await;
    for (_, reason, detail, _) in home.dead_letters().await {
        assert_eq!(reason, "invalid_event");
        assert!(detail.contains("orderId must have"), "{detail}");
    }
    home.close(inventory).await;
}

#[tokio::test]
async fn a_stored_event_that_can_be_no_message_is_set_aside_and_what_is_behind_it_flows() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    home.start(&[]).await.stop().await;
    // As a version left them that decided such an order.
    let decided =
        "INSERT INTO reservations (order_id, product_id, quantity, status, reason, decided_at, traceparent)
        VALUES ('demo' || char(10) || '1', '1', 1, 'cancelled', 'insufficient_stock', 0, '')";
    let enqueued = r#"INSERT INTO outbox_batches (event_count, events) SELECT 1, json_array(json_array(
        'm', 'order_processed', 'demo' || char(10) || '1', 0, 't',
        '{"orderId":"demo\n1","status":"cancelled","reason":"insufficient_stock"}'))"#;
    home.change(decided).await;
    home.change(enqueued).await;
    let inventory = home.start(&[]).await;
    let (publisher, mut observer) = ends(&broker).await;
    inventory.until_broker_is("connected").await;
    publisher.publish(order("good", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("good"));
    home.until_dead_letters_are(1).await;
    let (found, reason, detail, attempts) = home.dead_letters().await.remove(0);
    assert!(found.starts_with(br#"{"orderId":"demo\n1""#), "{}", String::from_utf8_lossy(&found));
    assert_eq!((reason.as_str(), attempts), ("unsendable_event", 1));
    assert!(detail.contains("ce-subject"), "{detail}");
    assert_eq!(inventory.json("/readyz").await["status"], "ready");

    // A redrive can do nothing for it, and says so.
    let redriven = redrive(&inventory, "/1/redrive").await;
    assert_eq!(redriven["outcome"], "dead");
    assert_eq!(redriven["reason"], "unsendable_event");
    // A repeat of the order is refused, and enqueues nothing.
    publisher.publish(order("demo\n1", "1", 1)).await;
    home.until_dead_letters_are(2).await;
    assert_eq!(home.dead_letters().await[1].1, "invalid_event");
    home.look().until_outbox_is_empty().await;
    home.close(inventory).await;
}
