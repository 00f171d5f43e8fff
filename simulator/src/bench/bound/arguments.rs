//! The flags of `sim bound`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::load::parse_duration;

/// Moves the bytes of orders with no logic around them; `sim bench` starts it.
#[derive(Debug, Clone, Args)]
#[command(hide = true)]
pub struct BoundArgs {
    #[arg(value_enum)]
    pub half: Half,
    /// The SQLite file, which is created
    #[arg(long)]
    pub database: PathBuf,
    /// A broker that has the stream and the consumers of the services
    #[arg(long)]
    pub nats_url: String,
    /// Clients that each place their next order when the last one is committed
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// How long they do, unless they come over HTTP
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Port at which the clients place their orders over HTTP; without it they are numbers in the process
    #[arg(long)]
    pub listen: Option<u16>,
}

/// Whose place a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Half {
    Order,
    Inventory,
}
