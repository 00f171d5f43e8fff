//! The relay: publishes the events of the outbox, and deletes a batch of them only after the stream's PubAcks.
//!
//! No PubAck, for whatever reason, means *not sent*: the batch stays and is published again with the same
//! `Nats-Msg-Id`s. Delivery is therefore at least once; an event is never lost and never skipped. One that can
//! never be a message becomes a dead letter `unsendable_event`. It does not know what an event means.

mod acknowledged;
mod message;
mod publish;
mod task;
mod unsendable;

pub use acknowledged::DELETE_AFTER;
pub use task::{Relay, Relayed};
