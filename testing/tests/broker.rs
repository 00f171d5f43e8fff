//! The broker fixture itself: what tests of faults rest on.

#![allow(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, Stream};
use testing::{Broker, wait_until};

async fn stream(broker: &Broker) -> (jetstream::Context, Stream) {
    let context = jetstream::new(broker.connect("operator").await);
    let config =
        Config { name: "ORDERS".to_owned(), subjects: vec!["order_created".to_owned()], ..Config::default() };
    let stream = context.get_or_create_stream(config).await.unwrap();
    (context, stream)
}

async fn messages(broker: &Broker) -> Option<u64> {
    let context = jetstream::new(broker.connect("operator").await);
    let stream = context.get_stream("ORDERS").await.ok()?;
    Some(stream.cached_info().state.messages)
}

async fn publish(context: &jetstream::Context) {
    context.publish("order_created", "{}".into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_stopped_broker_comes_back_on_its_port_with_its_messages() {
    let broker = Broker::start().await;
    let (context, _) = stream(&broker).await;
    publish(&context).await;
    broker.stop().await;
    assert!(async_nats::connect(broker.url()).await.is_err(), "a stopped broker must not answer");
    broker.start_again().await;
    assert_eq!(messages(&broker).await, Some(1));
}

#[tokio::test]
async fn a_killed_broker_keeps_its_stream_and_a_wiped_one_forgets_it() {
    let broker = Broker::start().await;
    let (context, _) = stream(&broker).await;
    publish(&context).await;
    broker.kill().await;
    broker.start_again().await;
    assert_eq!(messages(&broker).await, Some(1));
    broker.wipe().await;
    assert_eq!(messages(&broker).await, None);
}

#[tokio::test]
async fn two_brokers_of_one_test_share_nothing() {
    let (one, other) = tokio::join!(Broker::start(), Broker::start());
    assert_ne!(one.port(), other.port());
    stream(&one).await;
    assert_eq!(messages(&other).await, None);
}

#[tokio::test]
async fn the_observer_sees_events_and_cannot_publish_them() {
    use futures_util::StreamExt;
    let broker = Broker::start().await;
    let observer = broker.connect("observer").await;
    let mut events = observer.subscribe("order_created").await.unwrap();
    observer.publish("order_created", "forged".into()).await.unwrap();
    // The server handles one client's commands in order: its answer shows that both are behind it.
    observer.request("$JS.API.INFO", "".into()).await.unwrap();
    let order = broker.connect("order").await;
    order.publish("order_created", "true".into()).await.unwrap();
    order.flush().await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap();
    assert_eq!(&first.payload[..], b"true");
}

#[tokio::test]
async fn waiting_ends_as_soon_as_the_condition_holds() {
    let mut turns = 0;
    wait_until("it has been asked three times", || {
        turns += 1;
        let holds = turns == 3;
        async move { holds }
    })
    .await;
    assert_eq!(turns, 3);
}
