//! One SQLite file with one writer. Every write has a known outcome, and a failing storage is noticed.
//!
//! It knows no requests, and no events.

pub mod beside;
pub mod commit_queue;
mod condition;
mod connect;
mod database;
pub mod failure;
mod files;
mod lock;
pub mod migrations;
mod row;
mod stamp;
pub mod suspect;
mod wal;
mod watch;
mod write;
mod writer;

pub use database::Database;
pub use write::{WriteError, from_json, json};
pub use writer::Tx;
