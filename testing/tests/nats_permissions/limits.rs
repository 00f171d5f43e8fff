//! Whoever needs no password gets no more of the broker than is left when the services have theirs.

use async_nats::{ConnectOptions, jetstream};
use testing::wait_until;
use tokio::time::timeout;

use crate::guest::{ANSWER, Guest, ORDER, furnish, messages};

/// `max_connections` of the observers in `nats.conf`.
const OBSERVERS: usize = 20;

#[tokio::test]
async fn observers_cannot_use_up_the_connections_of_the_services() {
    let (broker, operator) = furnish().await;
    let mut observers = Vec::new();
    for _ in 0..OBSERVERS {
        observers.push(ConnectOptions::new().connect(broker.url()).await.unwrap());
    }
    assert!(ConnectOptions::new().connect(broker.url()).await.is_err(), "one observer too many got in");
    let order = jetstream::new(broker.connect(ORDER.user).await);
    order.publish(ORDER.publishes, "true".into()).await.unwrap().await.unwrap();
    assert_eq!(messages(&operator).await, 3);
    observers.clear();
    wait_until("there is room for an observer again", async || {
        ConnectOptions::new().connect(broker.url()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_observer_sends_questions_and_no_bulk() {
    let (broker, _) = furnish().await;
    let mut guest = Guest::new(&broker, "observer").await;
    guest.client.publish("$JS.API.INFO", vec![b' '; 5_000].into()).await.unwrap();
    let complaint = timeout(ANSWER, guest.complaints.recv()).await.unwrap().unwrap();
    assert!(complaint.to_lowercase().contains("maximum payload"), "{complaint}");
}
