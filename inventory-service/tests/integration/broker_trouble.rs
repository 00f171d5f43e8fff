//! The broker is away, killed, wiped, or refuses: nothing is lost but time.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer, PullConsumer, pull};
use async_nats::jetstream::stream;
use async_nats::jetstream::stream::SubjectTransform;
use inventory_service::stock::reservation;
use serde_json::json;
use shared::clock::now_ms;
use shared::contract::events::{EventBody, OrderCreated, Received};
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, ORDER_PROCESSED, STREAM};
use shared::delivery::outbox;
use shared::delivery::relay::{DELETE_AFTER, Relay, Relayed};
use shared::storage::Database;
use testing::{Broker, wait_until};

use crate::fixture::{Home, Observer, Publisher, body, confirmed, connected, connection, order};

/// Decides orders without any broker, as a service does that then dies before its relay comes to it.
async fn decide_unsent(database: &Database, order_ids: &[&str]) {
    let received = |order_id: &&str| Received {
        event: OrderCreated::decode(order(order_id, "1", 1).as_bytes()).unwrap(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        time_ms: None,
        attempt: 1,
    };
    let orders: Vec<_> = order_ids.iter().map(received).collect();
    let mut tx = database.begin().await.unwrap();
    reservation::reserve(&mut tx, &orders, now_ms()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_service_that_starts_without_a_broker_sends_its_old_outbox_and_consumes_once_there_is_one() {
    let broker = Broker::start().await;
    broker.stop().await;
    let home = Home::at(&broker);
    let database = home.stocked().await;
    decide_unsent(&database, &["old-1", "old-2"]).await;
    database.close().await;
    drop(database);

    let inventory = home.start(&[]).await;
    let expected = json!({"status": "ready", "database": "writable", "broker": "unreachable"});
    assert_eq!(inventory.readiness().await, (200, expected));
    assert_eq!(inventory.json("/inventory/1").await, json!({"productId": "1", "stock": 8}));
    assert_eq!(home.outbox().await, 2);

    broker.start_again().await;
    inventory.until_broker_is("connected").await;
    home.look().until_outbox_is_empty().await;
    let mut observer = Observer::of_answers(&broker).await;
    assert_eq!(observer.messages().await, 2);
    Publisher::order(&broker).await.publish(order("new", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("new"));
    home.close(inventory).await;
}

#[tokio::test]
async fn a_killed_broker_is_found_again_and_what_it_kept_is_decided_once() {
    let (broker, home, inventory) = connected().await;
    let mut observer = Observer::of_answers(&broker).await;
    Publisher::order(&broker).await.publish(order("before", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("before"));

    broker.kill().await;
    inventory.until_broker_is("unreachable").await;
    assert_eq!(inventory.get("/readyz").await.status(), 200, "stock can still be read");
    broker.start_again().await;
    let mut observer = Observer::of_answers(&broker).await;
    Publisher::order(&broker).await.publish(order("after", "1", 1)).await;
    // An ack that the broker had not kept brings `before` once more.
    let mut answer = observer.next().await;
    while body(&answer) == confirmed("before") {
        answer = observer.next().await;
    }
    assert_eq!(body(&answer), confirmed("after"));
    assert_eq!((home.stock("1").await, home.reservations().await), (8, 2));
    home.close(inventory).await;
}

#[tokio::test]
async fn a_wiped_broker_gets_stream_and_consumer_again_and_the_service_consumes_on() {
    let (broker, home, inventory) = connected().await;
    let mut observer = Observer::of_answers(&broker).await;
    Publisher::order(&broker).await.publish(order("before", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("before"));

    // An answer can be seen before its PubAck; without that it is published once more, which is not what is tested.
    home.look().until_outbox_is_empty().await;
    broker.wipe().await;
    let operator = jetstream::new(broker.connect("operator").await);
    wait_until("stream and consumer are there again", async || {
        operator.get_consumer_from_stream::<pull::Config, _, _>(INVENTORY_CONSUMER, STREAM).await.is_ok()
    })
    .await;
    let mut observer = Observer::of_answers(&broker).await;
    let publisher = Publisher::order(&broker).await;
    // What the order service does after a wipe: it sends everything again.
    publisher.publish(order("before", "1", 1)).await;
    publisher.publish(order("after", "1", 1)).await;
    assert_eq!(observer.next_bodies(2).await, [confirmed("after"), confirmed("before")]);
    assert_eq!((home.stock("1").await, home.reservations().await), (8, 2));
    home.close(inventory).await;
}

/// No start-up code deletes: when somebody else deletes the consumer or the stream, they are made again.
#[tokio::test]
async fn a_consumer_or_stream_that_an_operator_deleted_is_made_again() {
    let (broker, home, inventory) = connected().await;
    let (operator, mut observer) =
        (jetstream::new(broker.connect("operator").await), Observer::of_answers(&broker).await);
    let publisher = Publisher::order(&broker).await;
    publisher.publish(order("a", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("a"));

    operator.delete_consumer_from_stream(INVENTORY_CONSUMER, STREAM).await.unwrap();
    publisher.publish(order("b", "1", 1)).await;
    // The new consumer begins with the stream's first message, which is then a repeat.
    let bodies = observer.next_bodies(2).await;
    assert_eq!(bodies, [confirmed("a"), confirmed("b")]);

    home.look().until_outbox_is_empty().await;
    operator.delete_stream(STREAM).await.unwrap();
    wait_until("the stream is there again", async || operator.get_stream(STREAM).await.is_ok()).await;
    publisher.publish(order("c", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("c"));
    assert_eq!(home.reservations().await, 3);
    home.close(inventory).await;
}

#[tokio::test]
async fn settings_of_stream_and_consumer_that_would_stop_the_flow_are_put_back() {
    let (broker, home, inventory) = connected().await;
    let (operator, mut observer) =
        (jetstream::new(broker.connect("operator").await), Observer::of_answers(&broker).await);
    let stream = operator.get_stream(STREAM).await.unwrap();
    let consumer: PullConsumer = stream.get_consumer(INVENTORY_CONSUMER).await.unwrap();
    let ours = pull::Config::try_from_consumer_config(consumer.cached_info().config.clone()).unwrap();
    let harmful = [
        pull::Config { headers_only: true, ..ours.clone() },
        pull::Config { max_expires: Duration::from_millis(1), ..ours.clone() },
        pull::Config { max_batch: 1, ..ours.clone() },
        pull::Config { backoff: vec![Duration::from_secs(3_600)], ..ours.clone() },
    ];
    for config in harmful {
        operator.update_consumer_on_stream(config, STREAM).await.unwrap();
        wait_until("the consumer is as it was", async || {
            let found: PullConsumer = stream.get_consumer(INVENTORY_CONSUMER).await.unwrap();
            let found = &found.cached_info().config;
            (found.headers_only, found.max_batch, found.max_expires, found.backoff.len())
                == (false, 0, Duration::ZERO, 0)
        })
        .await;
    }
    let ours = stream.cached_info().config.clone();
    let transform =
        SubjectTransform { source: ORDER_PROCESSED.to_owned(), destination: ORDER_CREATED.to_owned() };
    let harmful = [
        stream::Config { no_ack: true, ..ours.clone() },
        stream::Config { max_messages: 1, ..ours.clone() },
        stream::Config { max_message_size: 10, ..ours.clone() },
        stream::Config {
            discard: stream::DiscardPolicy::New,
            discard_new_per_subject: true,
            max_messages_per_subject: 1,
            ..ours.clone()
        },
        stream::Config { subject_transform: Some(transform), ..ours.clone() },
    ];
    for config in harmful {
        operator.update_stream(config).await.unwrap();
        wait_until("the stream is as it was", async || {
            operator.get_stream(STREAM).await.unwrap().cached_info().config == ours
        })
        .await;
    }
    Publisher::order(&broker).await.publish(order("a", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("a"));
    home.close(inventory).await;
}

#[tokio::test]
async fn a_row_stays_in_the_outbox_until_the_stream_acknowledges_it() {
    let broker = Broker::start().await;
    let (home, connection) = (Home::at(&broker), connection(&broker).await);
    let database = home.stocked().await;
    decide_unsent(&database, &["a", "b", "c"]).await;
    let mut relay = Relay::new(database.clone(), connection);
    let operator = jetstream::new(broker.connect("operator").await);
    let allow = async |bytes: i32| {
        let mut config = operator.get_stream(STREAM).await.unwrap().cached_info().config.clone();
        config.max_message_size = bytes;
        operator.update_stream(config).await.unwrap();
    };

    allow(10).await;
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Unacknowledged { sent: 0, kept: 3 });
    assert_eq!(home.outbox().await, 3, "a refused event is not sent");

    // The broker has the first row already, and the acknowledgement was lost: `duplicate` counts as sent.
    allow(-1).await;
    let batches = outbox::oldest_after(database.reader(), 0, 10).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", batches[0].events[0].message_id.as_str());
    let sent = operator
        .publish_with_headers(ORDER_PROCESSED, headers, batches[0].events[0].body.clone().into())
        .await;
    sent.unwrap().await.unwrap();
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Sent(3));
    // What was acknowledged is deleted by a later step.
    tokio::time::sleep(DELETE_AFTER).await;
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Idle);
    assert_eq!(home.outbox().await, 0);
    let mut stream = operator.get_stream(STREAM).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 3);
    home.audit().await;
}

/// A server that takes the publish as a plain message, without a stream behind it, sends no PubAck.
#[tokio::test]
async fn without_a_stream_nothing_counts_as_sent() {
    let broker = Broker::start().await;
    let (home, connection) = (Home::at(&broker), connection(&broker).await);
    let database = home.stocked().await;
    decide_unsent(&database, &["a"]).await;
    let operator = jetstream::new(broker.connect("operator").await);
    operator.delete_stream(STREAM).await.unwrap();
    let mut relay = Relay::new(database.clone(), connection.clone());
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Unacknowledged { sent: 0, kept: 1 });
    assert_eq!(home.outbox().await, 1);
    connection.observe_once().await.unwrap();
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Sent(1));
}
