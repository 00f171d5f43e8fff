//! The times in a token, `exp` and `nbf`, and the leeway with which they hold.

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Clocks may differ by this many seconds when `exp` and `nbf` are checked.
const LEEWAY_SECONDS: f64 = 30.0;

/// Seconds since 1970: any JSON number, also with a fraction, an exponent or a sign (RFC 7519, section 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericDate(Number);

impl NumericDate {
    /// From when, in Unix milliseconds, a token with this `exp` is refused: the end of the last second that
    /// begins within the leeway.
    pub fn end_ms(&self) -> u64 {
        milliseconds((self.seconds() + LEEWAY_SECONDS).floor()).saturating_add(1_000)
    }

    /// From when, in Unix milliseconds, a token with this `nbf` is accepted.
    pub fn begin_ms(&self) -> u64 {
        milliseconds((self.seconds() - LEEWAY_SECONDS).ceil())
    }

    fn seconds(&self) -> f64 {
        // Every number of JSON that can be read has a floating-point number near it.
        self.0.as_f64().unwrap_or_default()
    }
}

impl From<u64> for NumericDate {
    fn from(seconds: u64) -> Self {
        Self(seconds.into())
    }
}

/// `as` takes what is before 1970 for 1970, and what is beyond the last millisecond for that one.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_leeway_ends_with_a_whole_second_whatever_the_fraction() {
        for (exp, end_ms) in [(json!(100), 131_000), (json!(100.0), 131_000), (json!(100.5), 131_000)] {
            let exp: NumericDate = serde_json::from_value(exp).unwrap();
            assert_eq!(exp.end_ms(), end_ms, "{exp:?}");
        }
        let nbf: NumericDate = serde_json::from_value(json!(100.5)).unwrap();
        assert_eq!((nbf.begin_ms(), NumericDate::from(u64::MAX).end_ms()), (71_000, u64::MAX));
    }
}
