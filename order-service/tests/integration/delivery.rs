//! The events as an independent plain NATS subscriber sees them.

use uuid::Uuid;

use crate::fixture::nats::{Observer, header};
use crate::fixture::{answer_to, connected};

#[tokio::test]
async fn an_order_is_announced_with_exactly_this_body_and_these_headers() {
    let (files, broker, app, _alice) = connected().await;
    let mut watcher = Observer::new(&broker, "order_created").await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = app.user("alice \"A\"").order_request("1", 2).header("traceparent", trace);
    let order = answer_to(request).await;
    let event = watcher.next().await;

    let (id, created_at) = (order.id(), order.body["createdAt"].as_str().unwrap());
    let body = format!(
        r#"{{"orderId":"{id}","productId":"1","quantity":2,"status":"created","userId":"alice \"A\"","createdAt":"{created_at}"}}"#
    );
    assert_eq!(std::str::from_utf8(&event.payload).unwrap(), body);
    let expected = [
        ("ce-datacontenttype", "application/json"),
        ("ce-id", &format!("order_created:{id}")),
        ("ce-source", "/order-service"),
        ("ce-specversion", "1.0"),
        ("ce-subject", &id),
        ("ce-time", created_at),
        ("ce-type", "order_created"),
        ("traceparent", trace),
    ];
    for (name, value) in expected {
        assert_eq!(header(&event, name), value, "{name}");
    }
    let message_id = header(&event, "Nats-Msg-Id");
    assert_eq!(Uuid::parse_str(message_id).unwrap().get_version_num(), 7, "{message_id}");
    assert_ne!(message_id, id, "it belongs to the outbox row, not to the order");
    assert_eq!(event.headers.as_ref().unwrap().len(), expected.len() + 1, "{:?}", event.headers);

    files.look().until_outbox_is_empty().await;
    app.stop().await;
}

#[tokio::test]
async fn an_invalid_trace_is_replaced_and_every_order_is_announced_once_in_order() {
    let (files, broker, app, _alice) = connected().await;
    let mut watcher = Observer::new(&broker, "order_created").await;
    let alice = app.user("alice");
    let request = alice.order_request("1", 1).header("traceparent", "00-garbage\t<x>-01");
    let mut placed = vec![answer_to(request).await.id()];
    for _ in 0..20 {
        placed.push(alice.place("1", 1).await);
    }
    let mut seen = Vec::new();
    for _ in &placed {
        let event = watcher.next().await;
        let trace = header(&event, "traceparent").to_owned();
        assert_eq!(shared::contract::trace::accept(Some(&trace)), trace, "a valid trace");
        seen.push(header(&event, "ce-subject").to_owned());
    }
    assert_eq!(seen, placed);
    app.stop().await;
    assert_eq!(files.look().outbox().await, 0);
}
