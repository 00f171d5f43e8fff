//! Requests and answers: bounded, authenticated, and with a clear error for everything that is wrong.
//!
//! It knows no route of a service; its own are the OpenAPI document and its page.

pub mod answer;
pub mod auth;
pub mod body;
pub mod database;
mod docs;
pub mod fields;
mod head;
pub mod idempotency_key;
pub mod openapi;
pub mod paging;
pub mod problem;
pub mod server;
mod stream;
pub mod uri;
