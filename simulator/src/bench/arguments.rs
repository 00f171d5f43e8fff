//! The flags of `sim bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::load::parse_duration;

/// Measures release builds of the services on this machine, and tells the medians of several rounds.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What to measure; all of it by default
    #[arg(value_enum)]
    pub sections: Vec<Section>,
    /// How often each load and each kind of read is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// How long each of them takes: 2s, 10s or 1m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Numbers of orders to read from
    #[arg(long, value_delimiter = ',', default_value = "1000,100000", value_parser = count(10))]
    pub stored: Vec<u64>,
    /// Orders that wait when the inventory comes back
    #[arg(long, default_value_t = 200_000, value_parser = count(10))]
    pub backlog: u64,
    /// Orders placed one after the other to see what grows, in tenths
    #[arg(long, default_value_t = 2_000_000, value_parser = count(1_000))]
    pub growth: u64,
    /// Write the report into this file, in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write each figure of each round into this file, in JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A part of the bench that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Orders at several loads, beside the bound, and what an idle system uses
    Load,
    /// GETs with few orders and with many
    Reads,
    /// What waits while the inventory is away, and how fast it is settled
    Backlog,
    /// Many orders in one topology, and a restart with all of them
    Growth,
}

impl BenchArgs {
    pub fn wants(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
    }

    /// 0 where nothing is measured in rounds; a backlog and growth are measured once.
    pub fn rounds_wanted(&self) -> u32 {
        if self.wants(Section::Load) || self.wants(Section::Reads) { self.rounds } else { 0 }
    }
}

/// Enough for a page, or for tenths, and not more than a disk holds.
fn count(at_least: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(at_least..=1_000_000_000)
}
