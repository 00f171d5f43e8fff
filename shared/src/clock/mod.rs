//! Time and chance: what the clock says, how long to wait, ids that nobody else has, and times as they are written.
//!
//! Whatever of the services depends on time or chance takes it from here. With the feature `simulation`
//! both follow from a seed; otherwise nothing of that is left in the binary.

#[cfg(not(feature = "simulation"))]
mod real;
#[cfg(feature = "simulation")]
pub mod simulated;

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use tokio_util::sync::CancellationToken;
use uuid::{Builder, Uuid};

#[cfg(not(feature = "simulation"))]
use self::real as source;
#[cfg(feature = "simulation")]
use self::simulated as source;
pub use self::source::{Elapsed, Instant, at_once, other_task, sleep, timeout, timeout_at};

/// Waits for so long, or until the token is cancelled.
pub async fn pause(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = sleep(duration) => {}
    }
}

/// Now, in Unix milliseconds, the unit of every time column.
pub fn now_ms() -> i64 {
    source::now_ms().unwrap_or_else(|| (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as i64)
}

/// A UUID v7 of now. Of two that this process makes, the later one is higher.
pub fn ordered_id() -> Uuid {
    source::random().map_or_else(Uuid::now_v7, |random| v7(now_ms(), random))
}

/// A UUID v7 that carries this time, in Unix milliseconds.
pub fn id_of(at_ms: i64) -> Uuid {
    v7(at_ms, random())
}

/// 128 bits by chance.
pub fn random() -> u128 {
    source::random().unwrap_or_else(|| Uuid::new_v4().as_u128())
}

fn v7(at_ms: i64, random: u128) -> Uuid {
    let [_, _, _, _, _, _, bytes @ ..] = random.to_be_bytes();
    Builder::from_unix_timestamp_millis(at_ms as u64, &bytes).into_uuid()
}

/// Unix milliseconds as RFC 3339 in UTC, the form of every time on the wire. Always three digits of a second, so
/// that times sort as text.
pub fn rfc3339(time_ms: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * 1_000_000) else {
        // Outside of the years that can be written; no clock of ours says so.
        return time_ms.to_string();
    };
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, milli) = time.to_hms_milli();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The Unix milliseconds of a time in RFC 3339, with any offset; `None` when it is none, or none of the years 0 to
/// 9999 in UTC. What is finer is cut off.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    // With its offset it may be in a year that cannot be written.
    let is_writable =
        time.checked_to_offset(UtcOffset::UTC).is_some_and(|utc| (0..=9999).contains(&utc.year()));
    if !is_writable {
        return None;
    }
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_the_wire_always_has_three_digits_of_a_second() {
        assert_eq!(rfc3339(1_763_928_004_770), "2025-11-23T20:00:04.770Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_time_is_read_as_it_was_written_and_with_any_offset() {
        assert_eq!(parse_rfc3339(&rfc3339(1_763_928_004_770)), Some(1_763_928_004_770));
        assert_eq!(parse_rfc3339("2025-11-23T21:00:04.7709+01:00"), Some(1_763_928_004_770));
        let outside = ["0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"];
        for text in outside {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        for text in ["", "now", "2025-11-23", "2025-13-23T20:00:04Z", "1763928004770"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
