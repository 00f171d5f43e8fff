//! An enqueued event as a message: a CloudEvent in binary mode.

use async_nats::header::{HeaderName, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, HeaderValue};

use crate::clock::rfc3339;
use crate::contract::trace::TRACEPARENT;
use crate::delivery::outbox::Enqueued;

const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const CE_ID: HeaderName = HeaderName::from_static("ce-id");
const CE_TYPE: HeaderName = HeaderName::from_static("ce-type");
const CE_SOURCE: HeaderName = HeaderName::from_static("ce-source");
const CE_SUBJECT: HeaderName = HeaderName::from_static("ce-subject");
const CE_TIME: HeaderName = HeaderName::from_static("ce-time");
const CE_DATACONTENTTYPE: HeaderName = HeaderName::from_static("ce-datacontenttype");

/// CloudEvents in binary mode: the attributes are headers, the body stays plain JSON. Beside them, where the value
/// of one cannot be a header's, the reason why the event can never be a message; that header is left out.
///
/// Source: the CloudEvents 1.0 NATS protocol binding, section 3.1. `ce-id` is derived from the event, so it
/// never changes; `Nats-Msg-Id` belongs to its place in the outbox.
pub(super) fn headers(event: &Enqueued, service: &str) -> (HeaderMap, Option<String>) {
    let values = [
        (CE_SPECVERSION, "1.0"),
        (CE_ID, &format!("{}:{}", event.subject, event.order_id)),
        (CE_TYPE, &event.subject),
        (CE_SOURCE, &format!("/{service}")),
        (CE_SUBJECT, &event.order_id),
        (CE_TIME, &rfc3339(event.event_time)),
        (CE_DATACONTENTTYPE, "application/json"),
        (HeaderName::from_static(TRACEPARENT), &event.traceparent),
        (NATS_MESSAGE_ID, &event.message_id),
    ];
    let (mut headers, mut refused) = (HeaderMap::new(), None);
    for (name, value) in values {
        match value.parse::<HeaderValue>() {
            Ok(value) => headers.insert(name, value),
            Err(_) => refused = Some(format!("the value of the header {name} has a line end in it")),
        }
    }
    (headers, refused)
}
