//! What becomes of the inventory's answers.

use async_nats::{HeaderMap, jetstream};
use order_service::orders::settlement::SettleOrders;
use shared::contract::subjects::ORDER_PROCESSED;
use shared::delivery::handler::AnyHandler;
use testing::service::{delivery, word};

use crate::fixture::nats::{cancelled, confirmed};
use crate::fixture::parts::Parts;
use crate::fixture::{Db, Publisher, connected, start, wait_until};

async fn reason_of(look: &Db, body: &str) -> String {
    let row = "SELECT reason || ' ' || attempts FROM dead_letters WHERE CAST(body AS TEXT) =";
    look.text(&format!("{row} '{}'", body.replace('\'', "''"))).await
}

#[tokio::test]
async fn an_answer_settles_its_order_for_good() {
    let (files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    let sold = alice.place("1", 1).await;
    let short = alice.place("1", 1_000_000).await;
    let unknown = alice.place("nothing", 1).await;
    inventory.confirm(&sold).await;
    inventory.publish(&cancelled(&short, "insufficient_stock")).await;
    inventory.publish(&cancelled(&unknown, "unknown_product")).await;
    alice.until_order_is(&unknown, "cancelled").await;

    let order = alice.order(&sold).await;
    assert_eq!((&order["status"], order.get("reason")), (&"confirmed".into(), None), "{order}");
    assert!(order["settledAt"].as_str().unwrap() >= order["createdAt"].as_str().unwrap(), "{order}");
    for (id, reason) in [(&short, "insufficient_stock"), (&unknown, "unknown_product")] {
        let order = alice.order(id).await;
        assert_eq!((&order["status"], &order["reason"]), (&"cancelled".into(), &reason.into()), "{order}");
    }

    // A repeat changes nothing, a contradiction is set aside, and neither flips the order.
    let settled_before = alice.order(&sold).await;
    inventory.confirm(&sold).await;
    inventory.publish(&cancelled(&sold, "insufficient_stock")).await;
    inventory.publish(&cancelled(&short, "unknown_product")).await;
    inventory.confirm("no-such-order").await;
    let look = files.look();
    look.until_dead_letters_are(3).await;
    assert_eq!(alice.order(&sold).await, settled_before);
    assert_eq!(alice.order(&short).await["reason"], "insufficient_stock");
    assert_eq!(reason_of(&look, &cancelled(&sold, "insufficient_stock")).await, "conflicting_result 1");
    assert_eq!(reason_of(&look, &cancelled(&short, "unknown_product")).await, "conflicting_result 1");
    assert_eq!(reason_of(&look, &confirmed("no-such-order")).await, "unknown_order 1");
    app.stop().await;
}

#[tokio::test]
async fn garbage_is_set_aside_while_the_answers_around_it_flow() {
    let (files, broker, app, alice) = connected().await;
    let (first, last) = (alice.place("1", 1).await, alice.place("1", 1).await);
    app.stop().await;

    // Published while nobody consumes, so that they arrive together.
    let inventory = Publisher::inventory(&broker).await;
    let mut headers = HeaderMap::new();
    headers.insert("ce-id", "strange");
    let garbage = ["garbage", "", "[]", r#"{"orderId":"a"}"#, r#"{"orderId":"","status":"confirmed"}"#];
    inventory.confirm(&first).await;
    for body in garbage {
        inventory.publish_with(headers.clone(), body).await;
    }
    inventory.publish(&format!(r#"{{"orderId":"{last}","status":"created"}}"#)).await;
    inventory.publish(&format!(r#"{{"orderId":"{last}","status":"cancelled"}}"#)).await;
    inventory.publish("garbage").await;
    inventory.confirm(&last).await;

    let app = start(&files, &broker.url(), &[]).await;
    let alice = app.user("alice");
    alice.until_order_is(&last, "confirmed").await;
    assert_eq!(alice.order(&first).await["status"], "confirmed");
    let look = files.look();
    look.until_dead_letters_are(7).await;
    assert_eq!(reason_of(&look, "garbage").await, "invalid_event 2", "the repeat counts in the same row");
    assert_eq!(reason_of(&look, "[]").await, "invalid_event 1");
    let stored = look.text("SELECT headers FROM dead_letters WHERE CAST(body AS TEXT) = '[]'").await;
    assert_eq!(stored, r#"{"ce-id":["strange"]}"#);

    inventory.publish("garbage").await;
    wait_until("the repeat is counted", || async { reason_of(&look, "garbage").await == "invalid_event 3" })
        .await;
    assert_eq!(look.dead_letters().await, 7);
    app.stop().await;
}

#[tokio::test]
async fn repeats_and_contradictions_inside_one_batch_are_decided_in_order() {
    let (files, parts) = Parts::alone().await;
    let orders = parts.place(2, shared::clock::now_ms()).await;
    let (one, two) = (orders[0].id.as_str(), orders[1].id.as_str());
    let batch = [
        confirmed(one),
        confirmed(one),
        cancelled(one, "insufficient_stock"),
        "garbage".to_owned(),
        confirmed("unknown"),
        cancelled(two, "insufficient_stock"),
        cancelled(two, "unknown_product"),
        confirmed(one),
    ];
    let batch = batch.map(|body| delivery(ORDER_PROCESSED, body));
    let mut tx = parts.database.begin().await.unwrap();
    let outcomes = SettleOrders.decide(&mut tx, batch.iter().collect()).await.unwrap();
    tx.commit().await.unwrap();
    let words: Vec<&str> = outcomes.iter().map(word).collect();
    let expected = [
        "confirmed",
        "repeated",
        "conflicting_result",
        "invalid_event",
        "unknown_order",
        "cancelled",
        "conflicting_result",
        "repeated",
    ];
    assert_eq!(words, expected);
    let statuses = files.look().texts("SELECT status || coalesce(reason, '') FROM orders ORDER BY id").await;
    assert_eq!(statuses, ["confirmed", "cancelledinsufficient_stock"]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_now_is_delivered_again_and_settles_later() {
    let (files, broker, app, alice) = connected().await;
    let id = alice.place("1", 1).await;
    files.look().until_outbox_is_empty().await;
    let lock = files.hold_write_lock().await;
    Publisher::inventory(&broker).await.confirm(&id).await;
    let state = jetstream::new(broker.connect("observer").await);
    let stream = state.get_stream_no_info("ORDERS").await.unwrap();
    wait_until("the service is not ready", || async { app.readiness().await.0 == 503 }).await;
    let info = stream.consumer_info("order-service").await.unwrap();
    assert!(info.num_pending + info.num_ack_pending as u64 > 0, "the answer waits: {info:?}");
    assert_eq!(alice.order(&id).await["status"], "created");
    lock.release().await;
    alice.until_order_is(&id, "confirmed").await;
    assert_eq!(files.look().dead_letters().await, 0);
    app.stop().await;
}
