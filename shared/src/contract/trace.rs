//! The W3C `traceparent` value: the thread that ties a POST to every event that follows from it.
//!
//! A value from outside is parsed before it is stored, and replaced by a fresh one when it is invalid.

use crate::clock;

/// The header's name, the same for HTTP and NATS (whose headers are case-sensitive).
pub const TRACEPARENT: &str = "traceparent";

/// The received value where it is a valid version 00 `traceparent`, otherwise a fresh one.
///
/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
pub fn accept(received: Option<&str>) -> String {
    match received {
        Some(value) if is_valid(value) => value.to_owned(),
        _ => fresh(),
    }
}

/// The trace id in a `traceparent` that was accepted.
pub fn id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

/// A new sampled trace with a random trace id and parent id.
fn fresh() -> String {
    format!("00-{:032x}-{:016x}-01", clock::random(), clock::random() as u64)
}

/// Version 00, lower-case hexadecimal, neither id all zeros.
fn is_valid(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut part = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (part(), part(), part(), part());
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |text: &str| text.bytes().any(|byte| byte != b'0');
    parts.next().is_none()
        && version == "00"
        && hex(trace, 32)
        && set(trace)
        && hex(parent, 16)
        && set(parent)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_kept_and_anything_else_replaced() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(accept(Some(valid)), valid);
        let invalid = [
            "",
            "garbage",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for value in invalid {
            let replaced = accept(Some(value));
            assert_ne!(replaced, value);
            assert!(is_valid(&replaced), "{replaced}");
        }
        assert_ne!(accept(None), accept(None));
    }
}
