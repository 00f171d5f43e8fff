//! The flags of `sim load`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::plan::{Limit, LoadPlan, Mix, Pace};

/// Products of the topology that the load starts for itself.
const PRODUCTS: u32 = 10;

const QUANTITY_MAX: u32 = 3;

/// Orders a second; the fastest is more than one process of this kind can send.
const RATES: RangeInclusive<f64> = 0.01..=1_000_000.0;

/// Sends orders, in a closed loop as fast as they are answered or at a rate, and tells how many were settled
/// and how fast.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Connections that each send one order after the other; with --rate, the most that wait for answers at
    /// once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Orders a second, however they are answered (open loop): latencies count from when an order was due
    #[arg(long, value_parser = |text: &str| parse_number(text, RATES))]
    pub rate: Option<f64>,
    /// How long to send: 500ms, 10s or 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Send this many orders instead
    #[arg(long, conflicts_with = "duration")]
    pub count: Option<u64>,
    /// Decides every order and its Idempotency-Key, so the same seed repeats the same orders; drawn when
    /// absent
    #[arg(long)]
    pub seed: Option<u64>,
    /// Products to order, named 1 to this number; 10 by default, with --target 1
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub products: Option<u32>,
    /// Share of the orders that are for product 1, beside its even share: 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub hot: f64,
    /// Share of the orders that are for products that do not exist: 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub unknown: f64,
    /// Users that order in turns
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// Record every answer in this file, for `sim check --answers`; a topology of its own is also audited in
    /// the end
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Order service to load, such as http://127.0.0.1:3000, instead of a topology of its own
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// Token for --target; without one, tokens are signed with JWT_SECRET or the demo's secret
    #[arg(long, requires = "target", conflicts_with_all = ["users", "answers"])]
    pub token: Option<String>,
}

impl LoadArgs {
    pub fn plan(&self) -> LoadPlan {
        let Self { connections, hot, unknown, users, .. } = *self;
        let products = self.products.unwrap_or(if self.target.is_some() { 1 } else { PRODUCTS });
        LoadPlan::new(
            self.seed.unwrap_or_else(|| fastrand::u64(..)),
            self.rate.map_or(Pace::Closed { connections }, |rate| Pace::Open { rate, connections }),
            self.count.map_or(Limit::Duration(self.duration), Limit::Count),
            Mix { products, hot, unknown, users, quantity_max: QUANTITY_MAX },
        )
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    parse_number(text, 0.0..=1.0)
}

fn parse_number(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it must be a number from {} to {}", range.start(), range.end()))
}

/// No run is longer, and no clock overflows.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Such as `500ms` or `2m`, and longer than nothing.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > DURATION_MAX => Err("it is too long".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(flags: &str) -> Result<LoadArgs, clap::Error> {
        let words = std::iter::once("load").chain(flags.split_whitespace());
        Ok(Command::try_parse_from(words)?.load)
    }

    #[test]
    fn flags_become_the_plan_that_they_ask_for() {
        let plan = parse("--rate 250.5 --count 7 --seed 3 --products 4 --hot 0.5 --unknown 0.1 --users 2")
            .unwrap()
            .plan();
        assert_eq!((plan.seed, plan.limit), (3, Limit::Count(7)));
        assert_eq!(plan.pace, Pace::Open { rate: 250.5, connections: 64 });
        let mix = Mix { products: 4, hot: 0.5, unknown: 0.1, users: 2, quantity_max: QUANTITY_MAX };
        assert_eq!(plan.mix, mix);
        let plan = parse("--connections 8 --duration 2s --target http://127.0.0.1:1").unwrap().plan();
        assert_eq!((plan.pace, plan.mix.products), (Pace::Closed { connections: 8 }, 1));
        assert_eq!(plan.limit, Limit::Duration(Duration::from_secs(2)));
    }

    #[test]
    fn flags_that_contradict_each_other_or_make_no_sense_are_refused() {
        for flags in [
            "--count 1 --duration 1s",
            "--rate 0",
            "--rate nan",
            "--hot 1.1",
            "--unknown -1",
            "--connections 0",
            "--token t",
            "--target http://127.0.0.1:1 --token t --answers f",
            "--target http://127.0.0.1:1 --token t --users 2",
        ] {
            assert!(parse(flags).is_err(), "{flags} must be refused");
        }
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "10",
            "s",
            "",
            "0s",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615m",
            "10000000000000000000s",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong} must be refused");
        }
    }
}
