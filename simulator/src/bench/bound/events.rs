//! The two events of an order, with the bodies and headers that the services send.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Message};
use async_nats::{HeaderMap, HeaderName, Subject};
use bytes::Bytes;
use processes::broker;
use shared::clock::rfc3339;
use shared::contract::subjects::{ORDER_CREATED, ORDER_PROCESSED};
use shared::contract::trace;
use uuid::Uuid;

/// The characters of an order's id, in both bodies behind `{"orderId":"`.
const ID: std::ops::Range<usize> = 12..48;

// Names that are made once cost nothing for each event.
static ID_NAME: HeaderName = HeaderName::from_static("ce-id");
static SUBJECT_NAME: HeaderName = HeaderName::from_static("ce-subject");
static TRACE_NAME: HeaderName = HeaderName::from_static(trace::TRACEPARENT);
static MESSAGE_ID_NAME: HeaderName = HeaderName::from_static("Nats-Msg-Id");

/// An order that is on its way. It is of product 1, by one user.
pub(super) struct Order {
    pub id: String,
    pub traceparent: String,
}

/// How one service announces orders at one moment.
pub(super) struct Announcer {
    context: jetstream::Context,
    subject: &'static str,
    time: String,
    /// What the headers of all its events have in common, with room for the rest.
    headers: HeaderMap,
}

impl Order {
    pub fn new() -> Self {
        let id = Uuid::now_v7();
        let traceparent = format!("00-{}-{:016x}-01", id.simple(), id.as_u64_pair().1);
        Self { id: id.to_string(), traceparent }
    }

    /// The order that an event is about, on its way to the next one.
    pub fn of(message: &Message) -> Result<Self> {
        let traceparent = message.headers.as_ref().and_then(|headers| headers.get(TRACE_NAME.clone()));
        let traceparent = traceparent.context("a message has no traceparent")?.to_string();
        Ok(Self { id: id_in(message)?.to_owned(), traceparent })
    }
}

/// The id of the order that an event is about; where it stands is known, so nothing is parsed.
pub(super) fn id_in(message: &Message) -> Result<&str> {
    let id = message.payload.get(ID).and_then(|id| str::from_utf8(id).ok());
    id.context("a message has no id")
}

impl Announcer {
    /// Of the order service or of the inventory service, by the subject that it publishes.
    pub fn new(context: &jetstream::Context, subject: &'static str, time_ms: i64) -> Self {
        let source = if subject == ORDER_CREATED { "/order-service" } else { "/inventory-service" };
        let time = rfc3339(time_ms);
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-type", subject);
        headers.insert("ce-source", source);
        headers.insert("ce-time", time.as_str());
        headers.insert("ce-datacontenttype", "application/json");
        for name in [&ID_NAME, &SUBJECT_NAME, &TRACE_NAME, &MESSAGE_ID_NAME] {
            headers.insert(name.clone(), "");
        }
        Self { context: context.clone(), subject, time, headers }
    }

    /// Publishes without waiting for the PubAck.
    pub async fn send(&self, order: Order) -> Result<PublishAckFuture> {
        let sent = self.context.send_publish(Subject::from_static(self.subject), self.message(order)).await;
        sent.with_context(|| format!("cannot publish {}", self.subject))
    }

    fn message(&self, order: Order) -> PublishMessage {
        let Self { subject, time, .. } = self;
        let Order { id, traceparent } = order;
        let body = match *subject {
            ORDER_PROCESSED => format!(r#"{{"orderId":"{id}","status":"confirmed"}}"#),
            _ => format!(
                r#"{{"orderId":"{id}","productId":"1","quantity":2,"status":"created","userId":"load-1","createdAt":"{time}"}}"#
            ),
        };
        let mut headers = self.headers.clone();
        headers.insert(ID_NAME.clone(), format!("{subject}:{id}"));
        headers.insert(SUBJECT_NAME.clone(), id);
        headers.insert(TRACE_NAME.clone(), traceparent);
        headers.insert(MESSAGE_ID_NAME.clone(), Uuid::now_v7().to_string());
        PublishMessage::build().headers(headers).payload(Bytes::from(body))
    }
}

/// Connects as the user of a service.
pub(super) async fn connect(nats_url: &str, user: &str) -> Result<jetstream::Context> {
    let client = broker::options(user).connect(nats_url).await;
    Ok(jetstream::new(client.with_context(|| format!("cannot connect to the broker as {user}"))?))
}

/// Waits until the stream holds all of these events.
pub(super) async fn acknowledged(events: Vec<PublishAckFuture>) -> Result<()> {
    for event in events {
        let ack = event.await.context("an event was not acknowledged")?;
        ensure!(!ack.duplicate, "the stream took an event for a repeat");
    }
    Ok(())
}
