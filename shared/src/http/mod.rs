//! Requests and answers: bounded, authenticated, and with a clear error for everything that is wrong.
//!
//! It knows no route of a service, and starts nothing.

use std::time::Duration;

pub mod answer;
pub mod auth;
pub mod body;
mod head;
pub mod idempotency_key;
mod linger;
pub mod openapi;
pub mod paging;
pub mod problem;
pub mod read;
pub mod server;
mod write_deadline;

/// A request that writes waits this long for its commit before the answer is 504.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
