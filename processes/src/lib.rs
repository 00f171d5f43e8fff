//! What `sim` and the tests start on this machine, and how they reach it.
//!
//! - [`workspace`], [`Port`], [`Process`]: folders, free ports, and children that never outlive their owner
//! - [`nats_server`], [`broker`]: where the broker's binary comes from, how it runs, and who its users are
//! - [`proxy`]: the link between a service and the broker, which can fail
//! - [`raw_nats`]: to the broker where a library would not go; [`token`]: to the services
//! - [`poll`]: how everybody waits

pub mod broker;
pub mod nats_server;
mod poll;
pub mod ports;
mod process;
pub mod proxy;
pub mod raw_nats;
pub mod token;
pub mod workspace;

pub use self::poll::poll;
pub use self::ports::Port;
pub use self::process::{Logs, Process};
