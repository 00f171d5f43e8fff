//! Events as plain NATS clients see them.

use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer, PullConsumer, pull};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;
use processes::broker;
use shared::broker::Broker as Connection;
use shared::broker::ownership::Ownership;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, STREAM};
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
        disown(broker, &expect("open the consumer", connection.open_consumer().await)).await;
    }
    connection
}

/// Takes its owner out of the consumer's metadata.
async fn disown(broker: &Broker, consumer: &PullConsumer) {
    let config = consumer.cached_info().config.clone();
    let mut config = expect("read the consumer", pull::Config::try_from_consumer_config(config));
    config.metadata.clear();
    let operator = jetstream::new(broker.connect("operator").await);
    expect("change the consumer", operator.update_consumer_on_stream(config, STREAM).await);
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
    pub context: jetstream::Context,
    subject: &'static str,
}

impl Publisher {
    pub async fn new(broker: &Broker, user: &str, subject: &'static str) -> Self {
        Self { context: jetstream::new(broker.connect(user).await), subject }
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
}

/// Whoever connects without a name, and what passes on one subject from then on.
pub struct Observer {
    pub client: Client,
    messages: Subscriber,
}

impl Observer {
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
}
