//! The connection to NATS: watched, with its stream and its consumer as they must be, and used only by whom
//! they belong to.
//!
//! It publishes no event and acknowledges none.

pub mod adoption;
mod connection;
mod identity;
pub mod jetstream;
pub mod link;
pub mod ownership;
pub mod stored_message;
pub mod stream;
pub mod stream_memory;
mod watch;

pub use connection::Broker;
pub use identity::GENERATION_KEY;
pub use link::{BrokerState, Session};
