//! The relay: publishes outbox rows and deletes each only after the stream's PubAck.
//!
//! No PubAck, for whatever reason, means *not sent*: the row stays and is published again with the same
//! `Nats-Msg-Id`. Delivery is therefore at least once; a row is never lost and never skipped. One that can
//! never be a message becomes a dead letter `unsendable_event`. It does not know what an event means.

mod acknowledged;
mod message;
mod publish;
mod task;
mod unsendable;

pub use acknowledged::DELETE_AFTER;
pub use task::{Relay, Relayed};
