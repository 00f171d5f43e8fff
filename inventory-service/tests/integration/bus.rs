//! Events as plain NATS clients see them: the order service's user publishes, the observer listens.

use std::time::Duration;

use async_nats::{
    Client, HeaderMap, Message, Subscriber,
    jetstream::{
        self,
        consumer::{FromConsumer, PullConsumer, pull},
    },
};
use futures_util::StreamExt;
use processes::broker;
use serde_json::json;
use shared::{
    broker::{Broker as Connection, ownership::Ownership},
    contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, ORDER_PROCESSED, STREAM},
    settings::NatsSettings,
    storage::Database,
};
use sqlx::migrate::Migrator;
use testing::{Broker, event_contract::EVENTS};

/// How long a message may take that must come.
const ARRIVAL: Duration = Duration::from_secs(20);

/// The body of a well-formed `order_created`, as short as a person types it.
pub fn order(order_id: &str, product_id: &str, quantity: i64) -> String {
    json!({"orderId": order_id, "productId": product_id, "quantity": quantity}).to_string()
}

/// The body of the answer to a confirmed order.
pub fn confirmed(order_id: &str) -> String {
    format!(r#"{{"orderId":"{order_id}","status":"confirmed"}}"#)
}

/// The body of the answer to a refused order.
pub fn cancelled(order_id: &str, reason: &str) -> String {
    format!(r#"{{"orderId":"{order_id}","status":"cancelled","reason":"{reason}"}}"#)
}

pub fn body(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap()
}

/// A header's value, empty when it is absent.
pub fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    message.headers.as_ref().and_then(|headers| headers.get(name)).map_or("", |value| value.as_str())
}

/// The service's own view of the broker, with the stream and the consumer provisioned. For tests that begin before the service: the
/// consumer is nobody's yet.
pub async fn connection(broker: &Broker) -> Connection {
    let settings = NatsSettings {
        nats_url: broker.url(),
        nats_user: "inventory".to_owned(),
        nats_password: broker::password("inventory").parse().unwrap(),
        nats_max_bytes: 1 << 30,
    };
    let (folder, no_tables) = (tempfile::tempdir().unwrap(), Migrator::with_migrations(Vec::new()));
    let database = Database::open(&folder.path().join("another.db"), &no_tables).await.unwrap();
    let ownership = Ownership::establish(database, INVENTORY_CONSUMER, ORDER_CREATED).await.unwrap();
    let connection = Connection::connect(&settings, ownership).await.unwrap();
    testing::wait_until("the stream is provisioned", async || connection.observe_once().await.is_ok()).await;
    if connection.is_connected() {
        disown(broker, &consumer(&connection).await).await;
    }
    connection
}

/// Takes its owner out of the consumer's metadata.
async fn disown(broker: &Broker, consumer: &PullConsumer) {
    let config = consumer.cached_info().config.clone();
    let mut config = pull::Config::try_from_consumer_config(config).unwrap();
    config.metadata.clear();
    let operator = jetstream::new(broker.connect("operator").await);
    operator.update_consumer_on_stream(config, STREAM).await.unwrap();
}

/// The service's durable consumer, opened as the service opens it.
pub async fn consumer(connection: &Connection) -> PullConsumer {
    connection.open_consumer().await.unwrap()
}

/// Takes `count` messages and leaves them unacknowledged.
pub async fn take(pulls: &PullConsumer, count: usize) -> Vec<jetstream::Message> {
    let pull = pulls.batch().max_messages(count).expires(ARRIVAL).messages().await.unwrap();
    let messages: Vec<_> = pull.map(Result::unwrap).collect().await;
    assert_eq!(messages.len(), count, "messages to take");
    messages
}

/// Publishes as the order service's user, and waits for the stream's PubAcks.
pub struct Publisher {
    context: jetstream::Context,
}

impl Publisher {
    pub async fn new(broker: &Broker) -> Self {
        Self { context: jetstream::new(broker.connect("order").await) }
    }

    pub async fn publish(&self, body: impl Into<Vec<u8>>) {
        self.publish_with(HeaderMap::new(), body).await;
    }

    pub async fn publish_with(&self, headers: HeaderMap, body: impl Into<Vec<u8>>) {
        let ack =
            self.context.publish_with_headers(ORDER_CREATED, headers, body.into().into()).await.unwrap();
        assert_eq!(ack.await.unwrap().stream, STREAM);
    }

    /// Publishes `orders` one-piece orders of product 1 named `prefix-0`, `prefix-1`, … with many PubAcks in flight.
    pub async fn backlog(&self, prefix: &str, orders: usize) {
        let mut acks = Vec::with_capacity(500);
        for number in 0..orders {
            let body = order(&format!("{prefix}-{number}"), "1", 1);
            acks.push(self.context.publish(ORDER_CREATED, body.into()).await.unwrap());
            if acks.len() == 500 || number + 1 == orders {
                for ack in acks.drain(..) {
                    ack.await.unwrap();
                }
            }
        }
    }
}

/// Whoever connects without a name, and what passes on `order_processed` from then on.
pub struct Observer {
    client: Client,
    answers: Subscriber,
}

impl Observer {
    pub async fn new(broker: &Broker) -> Self {
        let client = broker.connect("observer").await;
        let answers = client.subscribe(ORDER_PROCESSED).await.unwrap();
        // A flush hands over to the socket only; an answer means that the server knows the subscription.
        client.request("$JS.API.INFO", "".into()).await.unwrap();
        Self { client, answers }
    }

    pub async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(ARRIVAL, self.answers.next()).await;
        let message = next.expect("an answer must pass").expect("the subscription must last");
        EVENTS.check(&message);
        message
    }

    /// The next `count` answers' bodies, sorted.
    pub async fn next_bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(body(&self.next().await).to_owned());
        }
        bodies.sort();
        bodies
    }

    /// How many messages the stream has taken so far, of both subjects.
    pub async fn messages(&self) -> u64 {
        let stream = jetstream::new(self.client.clone()).get_stream(STREAM).await.unwrap();
        stream.cached_info().state.messages
    }

    /// How many messages the service's consumer was given and has not acknowledged.
    pub async fn unacknowledged(&self) -> usize {
        let stream = jetstream::new(self.client.clone()).get_stream(STREAM).await.unwrap();
        let consumer: PullConsumer = stream.get_consumer(INVENTORY_CONSUMER).await.unwrap();
        consumer.cached_info().num_ack_pending
    }
}
