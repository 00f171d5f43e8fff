//! Runs the real topology on this machine: nats-server and both services as processes.
//!
//! - [`nats_server`], [`nats_download`]: where the broker's binary comes from
//! - [`process`], [`ports`], [`workspace`]: what every part needs to run
//! - [`broker`], [`binaries`], [`topology`]: the parts, started, killed and started again
//! - [`proxy`]: the link between a service and the broker, which can fail
//! - [`http`], [`metrics`], [`token`]: how `sim` speaks to the services; [`raw_nats`]: to the broker, where a library would not
//! - [`engine`]: the containers of docker compose
//! - [`up`], [`reset`], [`load`], [`check`], [`chaos`]: the commands
//! - [`answers`]: what the load was told, for the check
//! - `testing` (feature of that name): a broker for each test

pub mod answers;
pub mod binaries;
pub mod broker;
pub mod chaos;
pub mod check;
pub mod engine;
pub mod http;
pub mod load;
pub mod metrics;
pub mod nats_download;
pub mod nats_server;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod raw_nats;
pub mod reset;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod topology;
pub mod up;
pub mod workspace;
