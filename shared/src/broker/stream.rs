//! What the services ask of the broker: one stream, and a durable consumer for each of them.
//!
//! [`JetStream`](super::jetstream::JetStream) answers it for a NATS server, and the simulation by a model of one. Nothing above it
//! talks to the broker's client. Each call is for a batch, and so costs nothing for a message.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream::AckKind;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::broker::stored_message::StoredMessage;

/// An answer of the broker, or why there is none.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// What a consumer's settings say of its owner.
pub type Metadata = HashMap<String, String>;

/// The stream ORDERS, over one connection after the other.
pub trait Stream: Send + Sync {
    /// The version of the server; empty before the first connection.
    fn server_version(&self) -> String;

    /// Creates the stream if it is missing, and updates it if its settings differ. An error if the server is too old.
    fn provision(&self) -> Answer<'_, StreamState>;

    /// The stream as it is.
    fn state(&self) -> Answer<'_, StreamState>;

    /// The message with this sequence; `None` when the stream does not hold it.
    fn message(&self, sequence: u64) -> Answer<'_, Option<StoredMessage>>;

    /// The first message of `subject` from this sequence on; `None` when there is none.
    fn next_of<'a>(&'a self, subject: &'a str, sequence: u64) -> Answer<'a, Option<StoredMessage>>;

    /// The durable consumer `name`; `None` when there is none.
    fn consumer<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Box<dyn Durable>>>;

    /// Creates the durable consumer `name` of `subject`; an error if there is one with other settings.
    fn create_consumer<'a>(
        &'a self,
        name: &'a str,
        subject: &'a str,
        metadata: Metadata,
    ) -> Answer<'a, Box<dyn Durable>>;

    /// Something that publishes, for as long as the connection's client lives.
    fn publisher(&self) -> Answer<'_, Box<dyn Publisher>>;

    /// Tells how messages ended. Whether the broker took note of it, nobody knows.
    fn acknowledge(&self, ends: Vec<(Token, AckKind)>) -> Answer<'_, ()>;

    /// Waits until everything sent so far was handed to the broker.
    fn flush(&self) -> Answer<'_, ()>;

    /// Whether the server answers, by a round trip that waits in no queue of its API.
    fn answers(&self) -> BoxFuture<'_, bool>;

    /// Ends when the client does that is in use now. It then never connects again.
    fn death(&self) -> BoxFuture<'static, ()>;

    /// Goes on with another client.
    fn replace_client(&self) -> Answer<'_, ()>;
}

/// The stream at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// When it was created, by the broker's clock; another time means another stream.
    pub created: String,
    /// The sequence of its oldest message, or of the next one if it has none; 0 before the first of all.
    pub first_sequence: u64,
    /// The sequence that was given last.
    pub last_sequence: u64,
}

/// What tells the broker which delivery is meant: the subject on which it is acknowledged.
pub type Token = Subject;

/// A durable consumer, as a handle that was opened at some moment.
pub trait Durable: Send + Sync {
    /// What it was when it was opened.
    fn seen(&self) -> &ConsumerState;

    /// What it is now.
    fn state(&self) -> Answer<'_, ConsumerState>;

    /// Its settings as they must be for `subject`, with these metadata among its own.
    fn update<'a>(&'a self, subject: &'a str, metadata: Metadata) -> Answer<'a, ()>;

    /// Goes back to what is not acknowledged, or to the sequence `from`, and starts its delivery counts over.
    fn reset(&self, from: Option<u64>) -> Answer<'_, ()>;

    /// Asks for up to so many messages; it ends with the last of them or once the time has passed.
    fn pull(&self, messages: usize, expires: Duration) -> Answer<'_, Deliveries>;
}

/// A consumer at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerState {
    pub name: String,
    /// An operator has stopped its deliveries.
    pub is_paused: bool,
    pub metadata: Metadata,
    /// The sequence of the message delivered last.
    pub delivered: u64,
    /// How many deliveries there were.
    pub deliveries: u64,
    /// All messages up to this sequence are acknowledged.
    pub ack_floor: u64,
    /// Messages delivered and not acknowledged.
    pub unacknowledged: usize,
    /// Messages that were never delivered.
    pub undelivered: u64,
}

/// What arrives of a pull.
pub type Deliveries = BoxStream<'static, Result<Delivered>>;

/// One message as it arrived.
#[derive(Debug)]
pub struct Delivered {
    pub subject: String,
    pub headers: Option<HeaderMap>,
    pub body: Bytes,
    /// 1 for the first delivery.
    pub attempt: i64,
    pub token: Token,
}

/// Publishes, with all PubAcks of a call in flight at once.
pub trait Publisher: Send {
    /// Publishes in this order. One answer for each message, in the same order.
    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<PubAck, NotPublished>>>;
}

/// One message to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub subject: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A stream's word that it holds a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PubAck {
    /// The name of the stream.
    pub stream: String,
    /// Where it holds the message.
    pub sequence: u64,
    /// It held it already: one with this `Nats-Msg-Id` was published not long ago.
    pub is_duplicate: bool,
}

/// Why there is no PubAck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPublished {
    /// The message breaks a rule of the broker.
    Never(String),
    /// It was refused, or nothing is known of it.
    Now(String),
}
