//! Both services and the broker as real processes, as `sim up` runs them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod client;
mod command;
mod crash;
mod fail_points;
mod flow;
mod full_broker;
mod hangup;
mod interrupt;
mod load;
mod lost_reply;
mod observer_floods;
mod older_broker;
mod race;
mod reset;
mod task_panics;
