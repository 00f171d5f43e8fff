//! What an event handler makes of messages.
//!
//! Handlers are called through [`handle`] only: one that panics is a failure of its messages, and not of the process.

use std::{error::Error, fmt, future::Future, panic::AssertUnwindSafe};

use anyhow::{Result, anyhow};
use futures_util::FutureExt;

use super::{message::Delivery, outcome::Outcome};
use crate::{storage::Tx, text};

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
            Err(Panicked(text::of_panic(panic.as_ref())).into())
        }
    }
}
