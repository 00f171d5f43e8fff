//! What an order says of its own past.

use async_nats::HeaderMap;
use serde_json::json;

use crate::fixture::nats::{cancelled, confirmed};
use crate::fixture::{Publisher, answer_to, connected};

/// The headers of an answer that was decided at this time.
fn decided_at(time: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-time", time);
    headers
}

#[tokio::test]
async fn the_history_is_the_same_however_often_the_answer_comes() {
    let (files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let id = answer_to(alice.order_request("1", 1).header("traceparent", trace)).await.id();
    let body = cancelled(&id, "insufficient_stock");
    inventory.publish_with(decided_at("2026-01-02T04:04:05.6789+01:00"), body.as_str()).await;
    alice.until_order_is(&id, "cancelled").await;

    let order = alice.order(&id).await;
    assert_eq!(order["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(order["reason"], "insufficient_stock");
    let expected = json!([
        {"event": "created", "at": order["createdAt"]},
        {"event": "decided", "at": "2026-01-02T03:04:05.678Z"},
        {"event": "settled", "at": order["settledAt"]},
    ]);
    assert_eq!(order["history"], expected);

    // Again with the same time, with another one and without any; then one more order, whose answer is behind them.
    inventory.publish_with(decided_at("2026-01-02T03:04:05.678Z"), body.as_str()).await;
    inventory.publish_with(decided_at("2030-01-01T00:00:00Z"), body.as_str()).await;
    inventory.publish(&body).await;
    let last = alice.place("1", 1).await;
    inventory.confirm(&last).await;
    alice.until_order_is(&last, "confirmed").await;
    assert_eq!(alice.order(&id).await, order);
    let look = files.look();
    let changes = "SELECT status || ' ' || at FROM status_changes WHERE order_id =";
    let changes = look.texts(&format!("{changes} '{id}' ORDER BY id")).await;
    assert_eq!(changes.len(), 2, "{changes:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_decision_without_a_time_that_can_be_read_is_left_out_of_the_history() {
    let (_files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    let (bare, strange) = (alice.place("1", 1).await, alice.place("1", 1).await);
    inventory.confirm(&bare).await;
    inventory.publish_with(decided_at("yesterday"), confirmed(&strange)).await;
    alice.until_order_is(&strange, "confirmed").await;
    for id in [&bare, &strange] {
        let order = alice.order(id).await;
        let expected = json!([
            {"event": "created", "at": order["createdAt"]},
            {"event": "settled", "at": order["settledAt"]},
        ]);
        assert_eq!(order["history"], expected);
    }
    app.stop().await;
}
