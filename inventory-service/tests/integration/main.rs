//! The inventory service as a whole: a real database file, a real broker, real HTTP, and for signals the real binary.
//!
//! - [`fixture`]: a folder with its database, the service in it, and what every test says of both
//! - [`decisions`], [`batches`], [`poison`], [`malformed_headers`], [`unsendable`], [`dead_letters`]: what becomes of events
//! - [`redelivery`], [`broker_trouble`], [`storage`]: what becomes of them when a process, the broker or the disk fails
//! - [`identity`]: what becomes of them when the database is not the consumer's
//! - [`stock_administration`], [`interrupted_changes`], [`movements`]: what becomes of such changes
//! - [`http`], [`attacks`], [`seed`], [`command`], [`process`], [`backup`]: the edges

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod attacks;
mod backup;
mod batches;
mod broker_trouble;
mod command;
mod dead_letters;
mod decisions;
mod document;
mod fixture;
mod http;
mod identity;
mod interrupted_changes;
mod malformed_headers;
mod movements;
mod poison;
mod process;
mod redelivery;
mod seed;
mod stock_administration;
mod storage;
mod unsendable;
