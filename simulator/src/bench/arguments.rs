//! The flags of `sim bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::load::parse_duration;

/// Measures release builds of the services on this machine, and tells the medians of several rounds.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// How often each load is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// How long each of them sends orders: 2s, 10s or 1m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Write the report into this file, in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write each figure of each round into this file, in JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
