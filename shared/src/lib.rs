//! What both services share: the event contract and the delivery machinery. No domain rules live here.
//!
//! Each folder is a room, and uses only rooms below it:
//!
//! - [`operations`]: runs a service: its tasks, its start and its end, what operators ask of it.
//! - [`http`]: serves requests: who calls, what a body and a page are, what an error looks like.
//! - [`delivery`]: takes events from a transaction to the broker, and from the broker to a handler.
//! - [`broker`]: the connection to NATS, and whose consumer is whose.
//! - [`storage`]: one SQLite file, with known outcomes.
//! - [`contract`]: what both services agree on.
//!
//! Files beside them are the ground: [`clock`], [`text`], [`number`], [`settings`], [`fail_point`],
//! [`gather`].

pub mod broker;
pub mod clock;
pub mod contract;
pub mod delivery;
pub mod fail_point;
pub mod gather;
pub mod http;
pub mod number;
pub mod operations;
pub mod settings;
pub mod storage;
pub mod text;
