//! An announced order is decided once, and its answer says how, however often it is asked for.

use async_nats::HeaderMap;
use shared::clock::rfc3339;
use shared::contract::trace::TRACEPARENT;

use crate::fixture::{body, cancelled, confirmed, connected, ends, header, order};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn an_order_takes_stock_or_is_refused_with_its_reason() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;

    let cases = [
        (order("a", "1", 4), confirmed("a")),
        (order("b", "1", 7), cancelled("b", "insufficient_stock")),
        (order("c", "1", 6), confirmed("c")),
        (order("d", "no-such-product", 1), cancelled("d", "unknown_product")),
        (
            r#"{"orderId":"e","productId":"2","quantity":5,"status":"created","userId":"alice","new":[1]}"#
                .to_owned(),
            confirmed("e"),
        ),
        (order("f", "2", 1), cancelled("f", "insufficient_stock")),
    ];
    for (event, answer) in cases {
        publisher.publish(event).await;
        assert_eq!(body(&observer.next().await), answer);
    }
    assert_eq!((home.stock("1").await, home.stock("2").await), (0, 0));
    inventory.stop().await;
    assert_eq!(home.outbox().await, 0);
    home.audit().await;
}

#[tokio::test]
async fn an_answer_carries_the_cloudevents_headers_and_the_trace_of_the_order() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;

    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, TRACE);
    publisher.publish_with(headers, order("traced", "1", 1)).await;
    let answer = observer.next().await;
    let decided_at = home.number("SELECT decided_at FROM reservations WHERE order_id = 'traced'").await;
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "order_processed:traced"),
        ("ce-type", "order_processed"),
        ("ce-source", "/inventory-service"),
        ("ce-subject", "traced"),
        ("ce-time", &rfc3339(decided_at)),
        ("ce-datacontenttype", "application/json"),
        (TRACEPARENT, TRACE),
    ] {
        assert_eq!(header(&answer, name), value, "{name}");
    }
    assert_eq!(header(&answer, "Nats-Msg-Id").len(), 36, "a UUID");
    assert_eq!(answer.headers.as_ref().unwrap().iter().count(), 9, "no further header");

    // A person types no headers, and a broken trace is not passed on: both get a fresh one.
    publisher.publish(r#"{"orderId":"demo-1","productId":"1","quantity":1}"#).await;
    let by_hand = observer.next().await;
    assert_eq!(body(&by_hand), confirmed("demo-1"));
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, "broken");
    publisher.publish_with(headers, order("broken-trace", "1", 1)).await;
    let untraced = observer.next().await;
    for message in [&by_hand, &untraced] {
        let fresh = header(message, TRACEPARENT);
        assert!(fresh.len() == 55 && fresh.starts_with("00-") && fresh != TRACE, "{fresh}");
    }
    home.close(inventory).await;
}

#[tokio::test]
async fn a_repeated_order_gets_the_stored_answer_again_and_changes_nothing() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;

    publisher.publish(order("kept", "2", 4)).await;
    publisher.publish(order("refused", "2", 2)).await;
    let first = [observer.next().await, observer.next().await];
    // Stock is the same again for a moment of the test: a second decision of `refused` would confirm it.
    publisher.publish(order("refused", "2", 2)).await;
    publisher.publish(order("kept", "2", 4)).await;
    publisher.publish(order("kept", "2", 4)).await;
    let again = [observer.next().await, observer.next().await, observer.next().await];
    for (repeat, original) in again.iter().zip([&first[1], &first[0], &first[0]]) {
        assert_eq!(body(repeat), body(original));
        for name in ["ce-id", "ce-time", TRACEPARENT] {
            assert_eq!(header(repeat, name), header(original, name), "{name} belongs to the event");
        }
    }
    let mut ids: Vec<_> = first.iter().chain(&again).map(|answer| header(answer, "Nats-Msg-Id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each repeat needs a Nats-Msg-Id of its own, or the broker swallows it");
    assert_eq!((home.stock("2").await, home.reservations().await), (1, 2));
    home.close(inventory).await;
}

#[tokio::test]
async fn a_repeat_that_says_something_else_is_set_aside_without_an_answer() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;

    publisher.publish(order("x", "1", 2)).await;
    assert_eq!(body(&observer.next().await), confirmed("x"));
    publisher.publish(order("x", "1", 3)).await;
    publisher.publish(order("x", "2", 2)).await;
    publisher.publish(order("marker", "2", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("marker"), "the conflicting repeats have no answer");

    home.until_dead_letters_are(2).await;
    for ((found, reason, detail, attempts), (event, says)) in home.dead_letters().await.into_iter().zip([
        (order("x", "1", 3), "the repeat says 3 of product 1"),
        (order("x", "2", 2), "the repeat says 2 of product 2"),
    ]) {
        assert_eq!((found, reason.as_str(), attempts), (event.into_bytes(), "conflicting_repeat", 1));
        assert!(detail.contains("order x was decided for 2 of product 1"), "{detail}");
        assert!(detail.contains(says), "{detail}");
    }
    assert_eq!((home.stock("1").await, home.stock("2").await), (8, 4));
    home.close(inventory).await;
}
