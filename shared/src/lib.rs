//! What both services share: the event contract and the delivery machinery. No domain rules live here.
//!
//! The contract: [`subjects`], [`events`] ([`number`]), [`trace`].
//! Delivery: [`outbox`] → [`relay`] ([`stream_memory`], [`stored_message`]) → [`broker`] ([`jetstream`]) → [`consumer`] ([`delivery`]) → [`dead_letter`].
//! Whose consumer it is: [`identity`], [`adoption`].
//! Ground: [`service`] ([`tasks`]), [`sqlite`] ([`commit_queue`], [`storage_failure`], [`suspect`], [`backup`]), [`settings`], [`command_line`], [`telemetry`] ([`log`]), [`shutdown`].
//! For crash tests: [`fail_point`].
//! HTTP edge: [`http`], [`auth`], [`body`], [`idempotency_key`], [`paging`], [`problem`], [`openapi`], [`operations`] ([`row_count`]), [`families`], [`admin`].

pub mod admin;
pub mod adoption;
pub mod auth;
pub mod backup;
pub mod body;
pub mod broker;
mod client;
pub mod command_line;
pub mod commit_queue;
mod connection;
pub mod consumer;
pub mod dead_letter;
pub mod delivery;
pub mod events;
pub mod fail_point;
pub mod families;
pub mod http;
pub mod idempotency_key;
pub mod identity;
pub mod jetstream;
pub mod log;
pub mod number;
pub mod openapi;
pub mod operations;
pub mod outbox;
pub mod paging;
pub mod problem;
pub mod relay;
pub mod row_count;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod sqlite;
pub mod storage_failure;
pub mod stored_message;
pub mod stream_memory;
pub mod subjects;
pub mod suspect;
pub mod tasks;
pub mod telemetry;
pub mod trace;
mod write_deadline;
