//! Events on their way: from the transaction that makes them true to the stream, and from the stream to the
//! handler that decides them.
//!
//! Delivery is at least once; nothing is lost, and what can never succeed is kept as a dead letter. It knows
//! no HTTP, and no rule of a service.

pub mod consumer;
pub mod dead_letter;
pub mod handler;
pub mod message;
pub mod outbox;
pub mod relay;
