//! A connection of one user that notices what the server denies, and the stream and consumers to try it on.
//!
//! A denied request is no error for whoever sends it, only a complaint of the server on the connection. The
//! complaints arrive in the order of the requests, so a request that is surely denied marks the end of those
//! in question.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Config;
use async_nats::{Client, Event, jetstream};
use bytes::Bytes;
use processes::broker;
use serde_json::Value;
use testing::Broker;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// How long an answer may take that must come.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A connection of one user, and what the server complains of on it.
pub struct Guest {
    pub client: Client,
    pub complaints: UnboundedReceiver<String>,
}

impl Guest {
    pub async fn new(broker: &Broker, user: &str) -> Self {
        let (sender, complaints) = unbounded_channel();
        let options = broker::options(user).event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = sender.send(error.to_string());
            }
            async {}
        });
        Self { client: options.connect(broker.url()).await.unwrap(), complaints }
    }

    /// Those of `subjects` on which the server does not let this user publish.
    pub async fn denied_to_publish<'a>(&mut self, subjects: &[&'a str]) -> Vec<&'a str> {
        for subject in subjects {
            self.client.publish((*subject).to_owned(), "".into()).await.unwrap();
        }
        self.denied("Publish", subjects).await
    }

    /// Those of `subjects` to which the server does not let this user subscribe.
    pub async fn denied_to_subscribe<'a>(&mut self, subjects: &[&'a str]) -> Vec<&'a str> {
        let mut subscriptions = Vec::new();
        for subject in subjects {
            subscriptions.push(self.client.subscribe((*subject).to_owned()).await.unwrap());
        }
        self.denied("Subscription", subjects).await
    }

    async fn denied<'a>(&mut self, what: &str, subjects: &[&'a str]) -> Vec<&'a str> {
        let complaints = self.complaints_so_far().await.join("\n");
        let denied = |subject: &&str| complaints.contains(&format!("{what} to \"{subject}\""));
        subjects.iter().copied().filter(denied).collect()
    }

    /// Everything that the server has complained of when it has seen all that was sent.
    pub async fn complaints_so_far(&mut self) -> Vec<String> {
        const MARKER: &str = "nobody.may.publish.this";
        self.client.publish(MARKER, "".into()).await.unwrap();
        let mut complaints = Vec::new();
        loop {
            let text = timeout(ANSWER, self.complaints.recv()).await.expect("the marker is denied").unwrap();
            if text.contains(MARKER) {
                return complaints;
            }
            complaints.push(text);
        }
    }

    /// The answer to an API request, which must not be an error.
    pub async fn ask(&self, subject: &str, body: impl Into<Bytes>) -> Value {
        let answer = timeout(ANSWER, self.client.request(format!("$JS.API.{subject}"), body.into())).await;
        let answer: Value = serde_json::from_slice(&answer.unwrap().unwrap().payload).unwrap();
        assert!(answer.get("error").is_none(), "{subject}: {answer}");
        answer
    }
}

/// One service's names: its user, its consumer, the subject that it receives and the one that it publishes.
pub struct Names {
    pub user: &'static str,
    pub consumer: &'static str,
    pub receives: &'static str,
    pub publishes: &'static str,
}

pub const ORDER: Names = Names {
    user: "order",
    consumer: "order-service",
    receives: "order_processed",
    publishes: "order_created",
};

pub const INVENTORY: Names = Names {
    user: "inventory",
    consumer: "inventory-service",
    receives: "order_created",
    publishes: "order_processed",
};

pub fn stream_config() -> Config {
    Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["order_created".to_owned(), "order_processed".to_owned()],
        allow_direct: true,
        ..Config::default()
    }
}

/// The stream with one event on each subject and both consumers, made by the operator.
pub async fn furnish() -> (Broker, jetstream::Context) {
    let broker = Broker::start().await;
    let operator = jetstream::new(broker.connect("operator").await);
    operator.create_stream(stream_config()).await.unwrap();
    for names in [ORDER, INVENTORY] {
        operator.publish(names.publishes, "true".into()).await.unwrap().await.unwrap();
        operator.create_consumer_on_stream(consumer_config(&names), "ORDERS").await.unwrap();
    }
    (broker, operator)
}

pub fn consumer_config(names: &Names) -> pull::Config {
    pull::Config {
        durable_name: Some(names.consumer.to_owned()),
        filter_subject: names.receives.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    }
}

pub async fn messages(operator: &jetstream::Context) -> u64 {
    operator.get_stream("ORDERS").await.unwrap().cached_info().state.messages
}
