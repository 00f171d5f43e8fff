//! One SQLite file with one writer. Every write has a known outcome, and a storage that fails is noticed and told.
//!
//! Of the contract it knows only the words that columns hold, and it knows no requests.

mod columns;
pub mod commit_queue;
mod condition;
mod database;
pub mod failure;
mod files;
pub mod suspect;
mod wal;
mod write;

pub use database::{Database, Tx, json};
pub use write::WriteError;
