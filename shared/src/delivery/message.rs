//! One delivery of a message, and deliveries that arrived together.

use async_nats::{
    HeaderMap,
    jetstream::{Message, message::Acker},
};
use bytes::Bytes;

use crate::contract::trace::{self, TRACEPARENT};

/// One delivery of a message.
#[derive(Debug)]
pub struct Delivery {
    /// The NATS subject.
    pub subject: String,
    /// The body as it came.
    pub body: Bytes,
    /// The headers as they came; hand-made messages have none.
    pub headers: Option<HeaderMap>,
    /// 1 for the first delivery.
    pub attempt: i64,
}

impl Delivery {
    /// The trace to continue: the message's own where it is valid, otherwise a fresh one.
    pub fn traceparent(&self) -> String {
        let received = self.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT));
        trace::accept(received.map(|value| value.as_str()))
    }
}

/// Deliveries that arrived together, and beside each what acknowledges it.
#[derive(Default)]
pub(crate) struct Batch {
    pub deliveries: Vec<Delivery>,
    pub ackers: Vec<Acker>,
}

impl Batch {
    pub fn push(&mut self, message: Message) {
        let attempt = message.info().map_or(1, |info| info.delivered);
        let (message, acker) = message.split();
        let subject = message.subject.to_string();
        self.deliveries.push(Delivery { subject, body: message.payload, headers: message.headers, attempt });
        self.ackers.push(acker);
    }

    /// What was delivered at least so often, and the rest.
    pub fn split_suspects(self, from_attempt: i64) -> (Self, Self) {
        let (mut suspects, mut rest) = (Self::default(), Self::default());
        for (delivery, acker) in self.deliveries.into_iter().zip(self.ackers) {
            let side = if delivery.attempt >= from_attempt { &mut suspects } else { &mut rest };
            side.deliveries.push(delivery);
            side.ackers.push(acker);
        }
        (suspects, rest)
    }
}
