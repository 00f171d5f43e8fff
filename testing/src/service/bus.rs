//! Events as plain NATS clients see them.

use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;
use processes::broker;
use serde_json::json;
use shared::broker::Broker as Connection;
use shared::broker::ownership::Ownership;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, ORDER_PROCESSED, STREAM};
use shared::delivery::handler::Outcome;
use shared::delivery::message::Delivery;
use shared::settings::NatsSettings;
use shared::storage::Database;
use sqlx::migrate::Migrator;
use tempfile::tempdir;
use tokio::time::timeout;

use crate::event_contract::EVENTS;
use crate::{Broker, DEADLINE, expect, wait_until};

/// The body of the answer to a confirmed order.
pub fn confirmed(order_id: &str) -> String {
    format!(r#"{{"orderId":"{order_id}","status":"confirmed"}}"#)
}

/// The body of the answer to a refused order.
pub fn cancelled(order_id: &str, reason: &str) -> String {
    format!(r#"{{"orderId":"{order_id}","status":"cancelled","reason":"{reason}"}}"#)
}

/// The body of a well-formed `order_created`, as short as a person types it.
pub fn order(order_id: &str, product_id: &str, quantity: i64) -> String {
    json!({"orderId": order_id, "productId": product_id, "quantity": quantity}).to_string()
}

/// A first delivery of this body without any header.
pub fn delivery(subject: &str, body: impl AsRef<[u8]>) -> Delivery {
    Delivery { subject: subject.to_owned(), body: body.as_ref().to_vec().into(), headers: None, attempt: 1 }
}

/// What became of a delivery, or why nothing can.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(word) => word,
        Outcome::Never(never) => never.reason,
    }
}

pub fn body(message: &Message) -> &str {
    expect("read a body", std::str::from_utf8(&message.payload))
}

/// A header's value, empty without it.
pub fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    message.headers.as_ref().and_then(|headers| headers.get(name)).map_or("", |value| value.as_str())
}

/// The inventory service's own view of the broker, with the stream and the consumer provisioned. The consumer
/// is nobody's yet.
pub async fn inventory_connection(broker: &Broker) -> Connection {
    let settings = NatsSettings {
        nats_url: broker.url(),
        nats_user: "inventory".to_owned(),
        nats_password: broker::password("inventory").as_str().into(),
        nats_max_bytes: 1 << 30,
    };
    let (folder, no_tables) = (expect("make a folder", tempdir()), Migrator::with_migrations(Vec::new()));
    let database = Database::open(&folder.path().join("another.db"), &no_tables).await;
    let database = expect("open a database", database);
    let ownership = Ownership::establish(database, INVENTORY_CONSUMER, ORDER_CREATED).await;
    let connection = Connection::connect(&settings, expect("be an owner", ownership)).await;
    let connection = expect("connect", connection);
    wait_until("the stream is provisioned", async || connection.observe_once().await.is_ok()).await;
    if connection.is_connected() {
        disown(broker, &inventory_consumer(broker).await).await;
    }
    connection
}

/// The inventory's durable consumer, which is there already, as the client sees it.
pub async fn inventory_consumer(broker: &Broker) -> PullConsumer {
    let context = jetstream::new(broker.connect("inventory").await);
    expect("open the consumer", context.get_consumer_from_stream(INVENTORY_CONSUMER, STREAM).await)
}

/// Takes its owner out of the consumer's metadata.
async fn disown(broker: &Broker, consumer: &PullConsumer) {
    let config = consumer.cached_info().config.clone();
    let mut config = expect("read the consumer", pull::Config::try_from_consumer_config(config));
    config.metadata.clear();
    let operator = jetstream::new(broker.connect("operator").await);
    expect("change the consumer", operator.update_consumer_on_stream(config, STREAM).await);
}

/// Waits until a consumer has nothing more to get and nothing to acknowledge.
pub async fn until_nothing_is_owed(broker: &Broker, consumer: &str) {
    let context = jetstream::new(broker.connect("observer").await);
    wait_until("the consumer owes nothing", async || {
        let found = context.get_consumer_from_stream(consumer, STREAM).await;
        let found: PullConsumer = expect("find the consumer", found);
        let info = found.cached_info();
        info.num_ack_pending == 0 && info.num_pending == 0
    })
    .await;
}

/// Takes exactly `count` messages and acknowledges none.
pub async fn take(pulls: &PullConsumer, count: usize) -> Vec<jetstream::Message> {
    let mut taken = Vec::with_capacity(count);
    let pull = async {
        while taken.len() < count {
            let batch = pulls.batch().max_messages(count - taken.len()).expires(DEADLINE).messages().await;
            let mut batch = expect("pull", batch);
            while let Some(message) = batch.next().await {
                taken.push(expect("take a message", message));
            }
        }
    };
    timeout(DEADLINE, pull).await.expect("messages to take");
    taken
}

/// Publishes on one subject with a service's rights, and waits for the stream's PubAcks.
pub struct Publisher {
    context: jetstream::Context,
    subject: &'static str,
}

impl Publisher {
    async fn new(broker: &Broker, user: &str, subject: &'static str) -> Self {
        Self { context: jetstream::new(broker.connect(user).await), subject }
    }

    /// What the order service says.
    pub async fn order(broker: &Broker) -> Self {
        Self::new(broker, "order", ORDER_CREATED).await
    }

    /// What the inventory service says.
    pub async fn inventory(broker: &Broker) -> Self {
        Self::new(broker, "inventory", ORDER_PROCESSED).await
    }

    pub async fn confirm(&self, id: &str) {
        self.publish(confirmed(id)).await;
    }

    /// Orders one piece of product 1 under each of these ids.
    pub async fn place(&self, order_ids: &[&str]) {
        for order_id in order_ids {
            self.publish(order(order_id, "1", 1)).await;
        }
    }

    pub async fn publish(&self, body: impl AsRef<[u8]>) {
        self.publish_with(HeaderMap::new(), body).await;
    }

    pub async fn publish_with(&self, headers: HeaderMap, body: impl AsRef<[u8]>) {
        let body = body.as_ref().to_vec().into();
        let sent = self.context.publish_with_headers(self.subject, headers, body).await;
        let ack = expect("see a PubAck", expect("publish", sent).await);
        assert_eq!(ack.stream, STREAM);
    }

    /// Publishes `orders` one-piece orders of product 1 named `prefix-0`, `prefix-1`, … with many PubAcks in flight.
    pub async fn backlog(&self, prefix: &str, orders: usize) {
        let bodies: Vec<_> = (0..orders).map(|number| order(&format!("{prefix}-{number}"), "1", 1)).collect();
        for bodies in bodies.chunks(500) {
            let mut acks = Vec::with_capacity(bodies.len());
            for body in bodies {
                let sent = self.context.publish(self.subject, body.clone().into()).await;
                acks.push(expect("publish", sent));
            }
            for ack in acks {
                expect("see a PubAck", ack.await);
            }
        }
    }
}

/// Whoever connects without a name, and what passes on one subject from then on.
pub struct Observer {
    client: Client,
    messages: Subscriber,
}

impl Observer {
    /// Of what the inventory service says.
    pub async fn of_answers(broker: &Broker) -> Self {
        Self::new(broker, ORDER_PROCESSED).await
    }

    pub async fn new(broker: &Broker, subject: &'static str) -> Self {
        let client = broker.connect("observer").await;
        let messages = expect("subscribe", client.subscribe(subject).await);
        // A flush hands over to the socket only; an answer means that the server knows the subscription.
        expect("ask", client.request("$JS.API.INFO", "".into()).await);
        Self { client, messages }
    }

    /// The next event, which must keep the contract.
    pub async fn next(&mut self) -> Message {
        let next = timeout(DEADLINE, self.messages.next()).await;
        let message = next.expect("an event must pass").expect("the subscription must last");
        EVENTS.check(&message);
        message
    }

    /// The next `count` bodies, sorted.
    pub async fn next_bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(body(&self.next().await).to_owned());
        }
        bodies.sort();
        bodies
    }

    async fn stream(&self) -> Stream {
        let stream = jetstream::new(self.client.clone()).get_stream(STREAM).await;
        expect("find the stream", stream)
    }

    /// How many messages the stream has taken so far, of both subjects.
    pub async fn messages(&self) -> u64 {
        self.stream().await.cached_info().state.messages
    }

    /// How many messages the inventory's consumer was given and has not acknowledged.
    pub async fn unacknowledged(&self) -> usize {
        let consumer: PullConsumer =
            expect("find", self.stream().await.get_consumer(INVENTORY_CONSUMER).await);
        consumer.cached_info().num_ack_pending
    }
}
