//! The flags of `sim chaos`, and the plan that they make.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::containers::POSSIBLE;
use super::fault::Wanted;
use super::preset::Preset;
use super::schedule;
use super::schedule::Planned;
use crate::load::parse_duration;

/// Without a preset a run is a short one.
const DURATION: Duration = Duration::from_secs(30);

/// Orders per second without a preset.
const RATE: u32 = 500;

/// Injects faults while load runs, waits until all is settled, and audits; exits with 1 on any violation.
///
/// By default on a topology of its own, with faults from a seeded schedule. KIND is one of kill, restart,
/// pause, cut, stall-to-broker, stall-from-broker, slow, reset, wipe, duplicate, poison, malformed, attack,
/// log-gone, move-database, clock, lock, panic; ARG is targets and a length, as in
/// `kill@10s:order+broker,500ms`.
#[derive(Debug, Clone, Args)]
pub struct ChaosArgs {
    /// A run with a name and the least that it must have done
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Seed of the schedule and of the load: the same seed, the same schedule [default: 1]
    #[arg(long, default_value_t = 1, hide_default_value = true)]
    pub seed: u64,
    /// How long to load and to inject faults: 30s or 5m [default: 30s, or the preset's]
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// This fault instead of the seeded ones: KIND[@AT][:ARG]; may be repeated
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Wanted>,
    /// Orders per second [default: 500, or the preset's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,
    /// Connections that send them
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// A kill waits until so many orders are pending, for 5 s at most; one that finds fewer counts as idle
    #[arg(long, default_value_t = 100)]
    pub min_pending: usize,
    /// Against the running containers of docker compose; only kill, restart and pause are possible there
    #[arg(long, requires = "faults")]
    pub compose: bool,
    /// Print the report as JSON; the timeline goes to standard error
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub duration: Duration,
    pub schedule: Vec<Planned>,
    pub rate: u32,
    pub connections: u32,
    pub min_pending: usize,
    /// The preset whose minimums have to be reached.
    pub minimums: Option<Preset>,
}

impl Plan {
    /// The plan that the flags ask for. Fails on a fault that cannot be done.
    pub fn new(args: &ChaosArgs) -> Result<Self> {
        let duration = args.duration.or(args.preset.map(Preset::duration)).unwrap_or(DURATION);
        let schedule = match args.faults.as_slice() {
            [] => schedule::random(args.seed, duration),
            wanted => schedule::wanted(wanted, duration),
        };
        for Planned { at, fault } in &schedule {
            let (word, seconds) = (fault.kind.word(), duration.as_secs());
            ensure!(*at <= duration, "{word} would begin after the run, which takes {seconds} s");
            ensure!(
                fault.lasts <= duration,
                "{word} would last longer than the run, which takes {seconds} s"
            );
            let possible = !args.compose || POSSIBLE.contains(&fault.kind);
            ensure!(
                possible,
                "{word} cannot be done to the containers of docker compose; kill, restart and pause can"
            );
        }
        Ok(Self {
            seed: args.seed,
            duration,
            schedule,
            rate: args.rate.or(args.preset.map(Preset::rate)).unwrap_or(RATE),
            connections: args.connections,
            min_pending: args.min_pending,
            minimums: args.preset,
        })
    }

    /// All faults have ended by then, also where each waits for the one before it.
    pub fn ends_within(&self) -> Duration {
        self.duration + self.schedule.iter().map(|planned| planned.fault.lasts).sum::<Duration>()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::chaos::timeline::Counts;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        chaos: ChaosArgs,
    }

    fn plan(flags: &str) -> Result<Plan> {
        let words = std::iter::once("chaos").chain(flags.split_whitespace());
        Plan::new(&Command::try_parse_from(words)?.chaos)
    }

    #[test]
    fn a_preset_is_the_default_of_every_flag_and_gives_way_to_it() {
        let ci = plan("--preset ci").unwrap();
        assert_eq!((ci.duration, ci.rate), (Preset::Ci.duration(), Preset::Ci.rate()));
        assert_eq!(ci.minimums, Some(Preset::Ci));
        let other = plan("--preset ci --duration 70s --rate 7 --seed 3").unwrap();
        assert_eq!((other.duration, other.rate, other.seed), (Duration::from_secs(70), 7, 3));
        let least = other.minimums.unwrap().shortfalls(other.duration, &Counts::default(), 0);
        assert!(least[1].ends_with("at least 10"), "half the time, half the kills: {least:?}");
        assert!(plan("").unwrap().minimums.is_none());
        let error = plan("--duration 3s --fault kill@9s:order").unwrap_err().to_string();
        assert!(error.contains("kill would begin after the run"), "{error}");
        let error = plan("--duration 3s --fault cut@1s:order,4s").unwrap_err().to_string();
        assert!(error.contains("cut would last longer than the run"), "{error}");
    }

    #[test]
    fn what_cannot_be_done_to_containers_is_refused_by_name_before_anything_starts() {
        assert!(plan("--compose --fault kill:order --fault pause:broker,1s").is_ok());
        let error = plan("--compose --fault kill:order --fault cut:order").unwrap_err().to_string();
        assert!(error.contains("cut cannot be done to the containers"), "{error}");
        assert!(plan("--compose").is_err(), "the seeded schedule has faults that containers cannot have");
    }
}
