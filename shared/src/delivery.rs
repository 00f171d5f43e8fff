//! One delivery of a message, and what an event handler makes of it.
//!
//! Handlers are called through [`handle`] only: one that panics is a failure of its messages, and not of the process.

use std::{any::Any, error::Error, fmt, future::Future, panic::AssertUnwindSafe};

use anyhow::{Result, anyhow};
use async_nats::{
    HeaderMap,
    jetstream::{Message, message::Acker},
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{
    dead_letter::Never,
    sqlite::Tx,
    trace::{self, TRACEPARENT},
};

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

/// How an event handler decided one message.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its effect is in the transaction, or it was a repeat and needs none. The word is the metric's label.
    Done(&'static str),
    /// It can never succeed; it becomes a dead letter in the same transaction.
    Never(Never),
}

/// Decides a batch inside the transaction that the consumer commits.
pub trait EventHandler: Send + Sync + 'static {
    /// One outcome per delivery, in the same order. An error rolls everything back.
    fn handle(&self, tx: &mut Tx, batch: &[Delivery]) -> impl Future<Output = Result<Vec<Outcome>>> + Send;
}

/// The error of a handler that panicked with this text.
#[derive(Debug)]
pub struct Panicked(pub String);

impl fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the handler panicked: {}", self.0)
    }
}

impl Error for Panicked {}

/// Has `handler` decide a batch. One outcome per delivery, in the same order; a panic is an error, [`Panicked`], and so is any other
/// number of outcomes, since nobody can tell which message has none.
pub async fn handle<H: EventHandler>(handler: &H, tx: &mut Tx, batch: &[Delivery]) -> Result<Vec<Outcome>> {
    // Unwind safe: a handler has no state of its own, and whoever gets an error drops the transaction.
    match AssertUnwindSafe(handler.handle(tx, batch)).catch_unwind().await {
        Ok(Ok(outcomes)) if outcomes.len() != batch.len() => {
            let (outcomes, messages) = (outcomes.len(), batch.len());
            Err(anyhow!("the handler returned {outcomes} outcomes for {messages} messages"))
        }
        Ok(result) => result,
        Err(panic) => {
            metrics::counter!("handler_panics_total").increment(1);
            Err(Panicked(panic_text(panic.as_ref())).into())
        }
    }
}

/// `panic!` carries a `String`, or a `&str` when its text has no values in it.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
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
