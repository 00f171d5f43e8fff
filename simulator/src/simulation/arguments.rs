//! The flags of `sim simulate`.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, value_parser};

use super::mutants::Mutant;

/// How many acts a schedule has, unless somebody wants another number.
pub const ACTS: u32 = 200;
/// So high is the first seed at most, and so many there are at most: each has a number.
const MOST: u64 = u64::MAX / 2;

/// Runs both services under a scheduler and on a model of the broker, with faults drawn from seeds; exits with 1 if
/// anything is violated.
#[derive(Debug, Clone, Parser)]
#[command(name = "sim simulate", bin_name = "sim simulate", group = ArgGroup::new("one").args(["seed", "replay"]))]
pub struct SimulateArgs {
    /// How many schedules
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=MOST))]
    pub seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(..=MOST))]
    pub from: u64,
    /// Only the schedule of this seed
    #[arg(long, conflicts_with_all = ["seeds", "from", "mutants"])]
    pub seed: Option<u64>,
    /// The schedule in this file, as a failure has left it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from", "mutants"])]
    pub replay: Option<PathBuf>,
    /// Print what happens in it, a line each
    #[arg(long, requires = "one")]
    pub log: bool,
    /// How many acts a schedule has
    #[arg(long, default_value_t = ACTS, value_parser = value_parser!(u32).range(1..))]
    pub acts: u32,
    /// Schedules under way at once, each on a processor of its own [default: the processors]
    #[arg(long, conflicts_with = "one", value_parser = value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// With this fault planted
    #[arg(long, value_enum)]
    pub mutant: Option<Mutant>,
    /// Each planted fault until it is found, up to this many schedules each
    #[arg(long, conflicts_with = "mutant")]
    pub mutants: bool,
    /// Leave failing schedules in this folder
    #[arg(long, value_name = "FOLDER", default_value = "failed-schedules")]
    pub keep: PathBuf,
}
