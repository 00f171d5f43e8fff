//! Events as plain NATS clients see them: the order service's user publishes, the observer listens.

use std::ops::Deref;

use async_nats::{Message, jetstream};
use serde_json::json;
use shared::broker::Broker as Connection;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, ORDER_PROCESSED, STREAM};
pub use testing::service::{cancelled, confirmed, header, inventory_connection as connection, take};
use testing::{Broker, service};

/// The body of a well-formed `order_created`, as short as a person types it.
pub fn order(order_id: &str, product_id: &str, quantity: i64) -> String {
    json!({"orderId": order_id, "productId": product_id, "quantity": quantity}).to_string()
}

pub fn body(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap()
}

/// The service's durable consumer, opened as the service opens it.
pub async fn consumer(connection: &Connection) -> jetstream::consumer::PullConsumer {
    connection.open_consumer().await.unwrap()
}

/// Publishes as the order service's user, and waits for the stream's PubAcks.
pub struct Publisher(service::Publisher);

impl Deref for Publisher {
    type Target = service::Publisher;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Publisher {
    pub async fn new(broker: &Broker) -> Self {
        Self(service::Publisher::new(broker, "order", ORDER_CREATED).await)
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
pub struct Observer(service::Observer);

impl Observer {
    pub async fn new(broker: &Broker) -> Self {
        Self(service::Observer::new(broker, ORDER_PROCESSED).await)
    }

    pub async fn next(&mut self) -> Message {
        self.0.next().await
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
        let stream = jetstream::new(self.0.client.clone()).get_stream(STREAM).await.unwrap();
        stream.cached_info().state.messages
    }

    /// How many messages the service's consumer was given and has not acknowledged.
    pub async fn unacknowledged(&self) -> usize {
        let stream = jetstream::new(self.0.client.clone()).get_stream(STREAM).await.unwrap();
        let consumer: jetstream::consumer::PullConsumer =
            stream.get_consumer(INVENTORY_CONSUMER).await.unwrap();
        consumer.cached_info().num_ack_pending
    }
}
