//! Requests and answers: bounded, authenticated, and with a clear error for everything that is wrong.
//!
//! It knows no route of a service, and starts nothing.

pub mod answer;
pub mod auth;
pub mod body;
pub mod commit;
pub mod fields;
mod head;
pub mod idempotency_key;
mod linger;
pub mod openapi;
pub mod paging;
pub mod path;
pub mod problem;
pub mod query;
pub mod read;
pub mod server;
mod write_deadline;
