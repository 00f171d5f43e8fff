//! One delivery of a message, and what acknowledges it.

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::broker::stream::{Delivered, Token};
use crate::clock::parse_rfc3339;
use crate::contract::events::{EventBody, Received};
use crate::contract::trace;
use crate::contract::trace::TRACEPARENT;

/// One message as it was delivered, or as a dead letter keeps it.
#[derive(Debug)]
pub struct Delivery {
    pub subject: String,
    pub body: Bytes,
    /// The headers as they came; hand-made messages have none.
    pub headers: Option<HeaderMap>,
    /// 1 for the first delivery.
    pub attempt: i64,
}

impl Delivery {
    /// The event in it. The error names the field and the rule.
    pub fn decode<E: EventBody>(&self) -> Result<Received<E>, String> {
        Ok(Received {
            event: E::decode(&self.body)?,
            traceparent: trace::accept(self.header(TRACEPARENT)),
            time_ms: self.header("ce-time").and_then(parse_rfc3339),
            attempt: self.attempt,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(|value| value.as_str())
    }
}

/// A delivery that waits for its acknowledgement.
pub(crate) struct Message {
    pub delivery: Delivery,
    pub token: Token,
}

impl From<Delivered> for Message {
    fn from(delivered: Delivered) -> Self {
        let Delivered { subject, headers, body, attempt, token } = delivered;
        Self { delivery: Delivery { subject, body, headers, attempt }, token }
    }
}
