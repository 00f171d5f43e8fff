//! What each user of `nats.conf` may do, and what it may not: both directions of every export and permission.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod guest;
mod limits;
mod observer;
mod picture;
mod replies;
mod services;

use async_nats::jetstream::consumer::pull;
use async_nats::{ConnectOptions, jetstream};
use futures_util::StreamExt;
use testing::{Broker, wait_until};
use tokio::time::timeout;

use crate::guest::{ANSWER, Guest, furnish, messages};

#[tokio::test]
async fn the_operator_can_do_everything() {
    let (broker, operator) = furnish().await;
    let mut guest = Guest::new(&broker, "operator").await;
    let context = jetstream::new(guest.client.clone());
    let mut everything = guest.client.subscribe(">").await.unwrap();
    for subject in ["order_created", "order_processed", "anything"] {
        guest.client.publish(subject, "".into()).await.unwrap();
        while timeout(ANSWER, everything.next()).await.unwrap().unwrap().subject.as_str() != subject {}
    }
    wait_until("both events are stored", async || messages(&operator).await == 4).await;
    let stream = context.get_stream("ORDERS").await.unwrap();
    stream
        .create_consumer(pull::Config { durable_name: Some("mine".to_owned()), ..Default::default() })
        .await
        .unwrap();
    stream.delete_consumer("mine").await.unwrap();
    stream.delete_message(1).await.unwrap();
    stream.purge().await.unwrap();
    context.delete_stream("ORDERS").await.unwrap();
    assert!(guest.complaints.try_recv().is_err(), "the server complains of nothing");
}

#[tokio::test]
async fn a_wrong_password_or_an_unknown_user_does_not_become_the_observer() {
    let broker = Broker::start().await;
    for (user, password) in [("order", "wrong"), ("order", ""), ("operator", "wrong"), ("nobody", "")] {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        assert!(options.connect(broker.url()).await.is_err(), "{user} with {password:?} got in");
    }
    let options = ConnectOptions::with_user_and_password("observer".to_owned(), String::new());
    assert!(options.connect(broker.url()).await.is_ok(), "the observer's name works, too");
}
