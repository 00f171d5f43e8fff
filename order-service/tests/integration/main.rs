//! The order service against real SQLite, a real broker and real HTTP. Each test has its own of each.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

mod api;
mod attacks_framing;
mod attacks_headers;
mod attacks_slow;
mod attacks_unread;
mod backup;
mod command_line;
mod database_files;
mod dead_letters;
mod dead_letters_command;
mod delivery;
mod document;
mod feed;
mod group_commit;
mod history;
mod idempotency;
mod identity;
mod key_settings;
mod keys;
mod lists;
mod lost_log;
mod malformed_headers;
mod migration;
mod overload;
mod process;
mod recovery;
mod refusals;
mod settlement;
mod storage;
mod sweeping;
mod tokens;
mod waiting;
mod watching;
