//! Running a service: how it starts, which tasks it has, how it stops, and what operators ask of it.
//!
//! It has no rule of a service; it only names what can happen to orders, in metrics and in help texts.

pub mod admin_client;
pub mod command_line;
pub mod commands;
pub mod families;
pub mod gauge;
pub mod jobs;
pub mod log;
pub mod probes;
pub mod routes;
pub mod service;
pub mod shutdown;
pub mod start;
pub mod tasks;
pub mod telemetry;
