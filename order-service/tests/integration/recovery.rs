//! The broker goes away, comes back, or forgets everything; no accepted order notices more than a delay.

use std::time::Instant;

use shared::broker::BrokerState;
use shared::operations::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::fixture::nats::stored_messages;
use crate::fixture::parts::Parts;
use crate::fixture::process::spawn;
use crate::fixture::{Broker, Files, Publisher, connected, start, start_connected, wait_until};

/// The orders that the stream's messages are about, oldest message first.
async fn announced(broker: &Broker) -> Vec<String> {
    let messages = stored_messages(broker).await;
    messages.iter().map(|message| message.headers.get("ce-subject").unwrap().to_string()).collect()
}

#[tokio::test]
async fn orders_are_accepted_while_the_broker_is_away_and_announced_when_it_comes() {
    let (files, broker) = (Files::new(), Broker::start().await);
    broker.stop().await;
    let app = start(&files, &broker.url(), &[]).await;
    let first = app.user("alice").place("1", 1).await;
    let (status, body) = app.readiness().await;
    assert_eq!((status, &body["broker"]), (200, &"unreachable".into()));
    // The restart drains promptly, although the outbox cannot be emptied.
    app.stop().await;
    assert_eq!(files.look().outbox().await, 1, "a row stays until its PubAck");

    let app = start(&files, &broker.url(), &[]).await;
    let second = app.user("alice").place("1", 1).await;
    assert_eq!(files.look().outbox().await, 2);
    broker.start_again().await;
    files.look().until_outbox_is_empty().await;
    app.until_broker_is("connected").await;
    assert_eq!(announced(&broker).await, [first, second], "each once, in the order of acceptance");
    app.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_started_again_is_used_again() {
    let (files, broker, app, alice) = connected().await;
    let before = alice.place("1", 1).await;
    files.look().until_outbox_is_empty().await;
    broker.kill().await;
    app.until_broker_is("unreachable").await;
    let during = alice.place("1", 1).await;
    assert_eq!(files.look().outbox().await, 1);
    broker.start_again().await;
    app.until_broker_is("connected").await;
    files.look().until_outbox_is_empty().await;
    let after = alice.place("1", 1).await;
    let inventory = Publisher::inventory(&broker).await;
    for id in [&before, &during, &after] {
        inventory.confirm(id).await;
    }
    for id in [&before, &during, &after] {
        alice.until_order_is(id, "confirmed").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_wiped_broker_gets_its_stream_and_all_pending_orders_again_at_once() {
    let (files, broker, app, _alice) = connected().await;
    let (alice, look) = (app.user("alice"), files.look());
    let settled = alice.place("1", 1).await;
    Publisher::inventory(&broker).await.confirm(&settled).await;
    alice.until_order_is(&settled, "confirmed").await;
    let pending = [alice.place("1", 1).await, alice.place("2", 2).await, alice.place("3", 3).await];
    files.look().until_outbox_is_empty().await;
    // The sweeper has looked at this stream; otherwise it has nothing to compare the next one with.
    wait_until("the stream is remembered", || async {
        look.number("SELECT count(*) FROM broker_memory WHERE stream_created <> ''").await == 1
    })
    .await;

    let wiped = Instant::now();
    broker.wipe().await;
    wait_until("the pending orders are in the new stream", || async {
        let found = announced(&broker).await;
        pending.iter().all(|id| found.contains(id))
    })
    .await;
    assert!(wiped.elapsed().as_secs() < 20, "well before the sweeper's 30 seconds");
    files.look().until_outbox_is_empty().await;
    let mut found = announced(&broker).await;
    found.sort_unstable();
    assert_eq!(found, pending, "each once, and the settled order not at all");

    Publisher::inventory(&broker).await.confirm(&pending[2]).await;
    alice.until_order_is(&pending[2], "confirmed").await;
    app.stop().await;
}

#[tokio::test]
async fn a_service_that_is_killed_sends_after_its_restart_what_it_had_accepted() {
    let (files, broker) = (Files::new(), Broker::start().await);
    broker.stop().await;
    let mut service = spawn(&files, &broker.url(), &[]).await;
    let mut placed = Vec::new();
    for _ in 0..10 {
        placed.push(service.user("alice").place("1", 1).await);
    }
    service.kill().await;
    broker.start_again().await;
    let app = start_connected(&files, &broker).await;
    files.look().until_outbox_is_empty().await;
    assert_eq!(announced(&broker).await, placed);
    assert_eq!(app.user("alice").get("/orders").await.body.as_array().unwrap().len(), 10);
    app.stop().await;
}

#[tokio::test]
async fn a_nats_client_that_has_ended_is_replaced_since_it_would_never_connect_again() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let (parts, mut tasks) = (Parts::open(&files, &broker).await, Tasks::default());
    let connection = parts.connection.clone();
    tasks.spawn("broker watch", async move { connection.watch(CancellationToken::new()).await });
    let connected_as = || match &*parts.connection.state().borrow() {
        BrokerState::Connected(session) => Some(session.connection),
        _ => None,
    };
    wait_until("the first client is connected", async || connected_as().is_some()).await;
    let first = connected_as();
    parts.jetstream.context().client().drain().await.unwrap();
    wait_until("another client is connected", async || connected_as() > first).await;
}

#[tokio::test]
async fn a_consumer_that_an_operator_has_paused_is_told_of() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let mut service = spawn(&files, &broker.url(), &[]).await;
    wait_until("it consumes", async || service.log().contains("consuming")).await;
    let operator = broker.connect("operator").await;
    let until = r#"{"pause_until":"2099-01-01T00:00:00Z"}"#;
    operator.request("$JS.API.CONSUMER.PAUSE.ORDERS.order-service", until.into()).await.unwrap();
    wait_until("the log tells it", async || service.log().contains("has paused the consumer")).await;
    service.stop().await;
}
