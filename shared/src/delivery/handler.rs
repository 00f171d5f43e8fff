//! What a service makes of events, and how messages become events.
//!
//! Handlers are called through [`AnyHandler`] only. A message that does not decode never reaches one, and one
//! that panics is a failure of its messages, and not of the process.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use anyhow::{Error, Result, ensure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::message::Delivery;
use crate::contract::events::{EventBody, Received};
use crate::storage::Tx;
use crate::text;

/// Decides a batch inside the transaction that the consumer commits.
pub trait EventHandler: Send + Sync + 'static {
    type Event: EventBody;

    /// One outcome per event, in the same order. An error rolls everything back.
    fn handle(
        &self,
        tx: &mut Tx,
        batch: &[Received<Self::Event>],
    ) -> impl Future<Output = Result<Vec<Outcome>>> + Send;
}

/// Any event handler, whatever its events are: what calls it is compiled once, and not for each of them.
pub trait AnyHandler: Send + Sync {
    /// One outcome per message, in the same order; a panic is a [`Panicked`].
    fn decide<'a>(&'a self, tx: &'a mut Tx, batch: Vec<&'a Delivery>) -> BoxFuture<'a, Result<Vec<Outcome>>>;
}

impl<H: EventHandler> AnyHandler for H {
    fn decide<'a>(&'a self, tx: &'a mut Tx, batch: Vec<&'a Delivery>) -> BoxFuture<'a, Result<Vec<Outcome>>> {
        // Unwind safe: a handler has no state of its own, and whoever gets an error drops the transaction.
        let decided = AssertUnwindSafe(decide(self, tx, batch)).catch_unwind();
        let decided = decided.map(|decided| decided.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))));
        decided.boxed()
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    metrics::counter!("handler_panics_total").increment(1);
    Error::msg(Panicked(text::of_panic(panic)))
}

/// How an event handler decided one message.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its effect is in the transaction, or it was a repeat and needs none. The word is the metric's label.
    Done(&'static str),
    /// It can never succeed; it becomes a dead letter in the same transaction.
    Never(Never),
}

/// The reason of an event of this service's own that can never be a message.
pub const UNSENDABLE: &str = "unsendable_event";

/// Why a message can never succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    /// One stable word, such as `conflicting_result`; it is the metric's label.
    pub reason: &'static str,
    /// The same for a person, with the values that were found.
    pub detail: String,
}

/// The error of a handler that panicked with this text.
#[derive(Debug)]
pub struct Panicked(pub String);

impl fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the handler panicked: {}", self.0)
    }
}

async fn decide<H: EventHandler>(handler: &H, tx: &mut Tx, batch: Vec<&Delivery>) -> Result<Vec<Outcome>> {
    let (mut events, mut undecodable) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for message in batch {
        undecodable.push(message.decode().map(|event| events.push(event)).err());
    }
    let outcomes = handler.handle(tx, &events).await?;
    // Nobody could tell which message has none.
    ensure!(
        outcomes.len() == events.len(),
        "the handler returned {} outcomes for {} messages",
        outcomes.len(),
        events.len()
    );
    let mut outcomes = outcomes.into_iter();
    let never = |detail| Outcome::Never(Never { reason: "invalid_event", detail });
    Ok(undecodable.into_iter().filter_map(|detail| detail.map(never).or_else(|| outcomes.next())).collect())
}
