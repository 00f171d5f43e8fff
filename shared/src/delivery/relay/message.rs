//! An outbox row as a message: a CloudEvent in binary mode.

use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderValue};

use crate::clock::rfc3339;
use crate::contract::trace::TRACEPARENT;
use crate::delivery::outbox::Row;

/// The row as a message; the error says why it can never be one.
pub(super) fn build(row: &Row, service: &str) -> Result<PublishMessage, String> {
    match headers(row, service) {
        (_, Some(name)) => Err(format!("the value of the header {name} has a line end in it")),
        (headers, None) => Ok(PublishMessage::build().headers(headers).payload(row.body.clone().into())),
    }
}

/// CloudEvents in binary mode: the attributes are headers, the body stays plain JSON. Beside them the name of
/// one whose value cannot be a header's, if there is any; it is left out.
///
/// Source: the CloudEvents 1.0 NATS protocol binding, section 3.1. `ce-id` is derived from the event, so it
/// never changes; `Nats-Msg-Id` belongs to the row.
pub(super) fn headers(row: &Row, service: &str) -> (HeaderMap, Option<&'static str>) {
    let values = [
        ("ce-specversion", "1.0"),
        ("ce-id", &format!("{}:{}", row.subject, row.order_id)),
        ("ce-type", &row.subject),
        ("ce-source", &format!("/{service}")),
        ("ce-subject", &row.order_id),
        ("ce-time", &rfc3339(row.event_time)),
        ("ce-datacontenttype", "application/json"),
        (TRACEPARENT, &row.traceparent),
        ("Nats-Msg-Id", &row.message_id),
    ];
    let (mut headers, mut refused) = (HeaderMap::new(), None);
    for (name, value) in values {
        match value.parse::<HeaderValue>() {
            Ok(value) => headers.insert(name, value),
            Err(_) => refused = Some(name),
        }
    }
    (headers, refused)
}
