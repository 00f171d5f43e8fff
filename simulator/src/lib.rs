//! Runs the real topology on this machine: nats-server and both services as processes.
//!
//! - [`up`], [`reset`], [`load`], [`bench`], [`check`], [`chaos`]: the commands
//! - [`binaries`], [`topology`]: the parts, started, killed and started again; [`compose`]: as containers
//! - [`http`], [`metrics`]: how `sim` speaks to the services
//! - `signals`: what ends a command early, and how it leaves nothing running; `printing`: what it tells in the end
//! - [`answers`]: what the load was told, for the check

pub mod answers;
pub mod bench;
pub mod binaries;
pub mod chaos;
pub mod check;
pub mod command;
pub mod compose;
pub mod http;
pub mod load;
pub mod metrics;
mod printing;
pub mod reset;
mod signals;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod topology;
pub mod up;
