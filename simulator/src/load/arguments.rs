//! The flags of `sim load`.

use std::time::Duration;

use clap::Args;

/// Sends orders as fast as they are answered, and tells how many were settled and how fast.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Connections that each send one order after the other
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// How long to send: 500ms, 10s or 2m
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Send this many orders instead
    #[arg(long, conflicts_with = "duration")]
    pub count: Option<u64>,
    /// Order service to load, such as http://127.0.0.1:3000, instead of a topology of its own
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// Token for --target; without one, it is signed with JWT_SECRET or the demo's secret
    #[arg(long, requires = "target")]
    pub token: Option<String>,
    /// Product to order from --target
    #[arg(long, default_value = "1", requires = "target")]
    pub product: String,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number: u64 =
        text[..text.len() - unit.len()].parse().map_err(|_| "it must begin with a whole number")?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("its unit must be ms, s or m".to_owned()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "it is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "s", "", "-1s", "1h", "1.5s", "99999999999999999999s", "18446744073709551615m"] {
            assert!(parse_duration(wrong).is_err(), "{wrong} must be refused");
        }
    }
}
