//! `Prefer: wait=N` (RFC 7240): how long a client would like to wait for a better answer. A preference is no
//! demand: whatever is unknown or malformed is ignored.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

const PREFER: &str = "prefer";
/// Names the preferences that were honoured (RFC 7240, section 3).
const PREFERENCE_APPLIED: &str = "preference-applied";

/// The longest wait; whoever prefers a longer one gets this.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long the client prefers to wait, if it has said so.
#[derive(IntoParams)]
#[into_params(names("Prefer"), parameter_in = Header)]
pub struct Wait(
    /// `wait=N` (RFC 7240): answer as soon as the order is settled, or after N seconds, at most 30, as it is then.
    #[param(value_type = Option<String>, nullable = false, example = "wait=5")]
    pub Option<Duration>,
);

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(wait(&parts.headers)))
    }
}

/// Of several preferences of one name the first counts (section 2).
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let value = values.flat_map(|value| split(value, ',')).find_map(value_of_wait)?;
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a number can hold mean a long time, too.
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)).min(WAIT_MAX))
}

/// The answer, which says whether a wait was honoured.
pub fn answered(applied: Option<Duration>, answer: impl IntoResponse) -> Response {
    let applied = applied.map(|wait| [(PREFERENCE_APPLIED, format!("wait={}", wait.as_secs()))]);
    (applied, answer).into_response()
}

/// The value of a preference named `wait`, without its parameters; empty when it has none.
fn value_of_wait(preference: &str) -> Option<&str> {
    let bare = split(preference, ';').next()?;
    let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
    name.trim().eq_ignore_ascii_case("wait").then_some(value.trim())
}

/// The parts between separators that stand outside of quoted strings (RFC 9110, section 5.6.4).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        let outside = !quoted && char == separator;
        (quoted, escaped) = match char {
            '"' if !escaped => (!quoted, false),
            '\\' if quoted => (true, !escaped),
            _ => (quoted, false),
        };
        outside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_found_in_every_spelling() {
        for value in [
            "wait=7",
            "WAIT=7",
            "  wait = 7  ",
            "wait=\"7\"",
            "wait=7;foo=bar;baz",
            "respond-async, wait=7",
            "respond-async,,wait=7 ;x",
            "return=minimal; note=\"wait=1, \\\" wait=2\", wait=7",
        ] {
            assert_eq!(seconds(&[value]), Some(7), "{value}");
        }
        assert_eq!(seconds(&["respond-async", "wait=7"]), Some(7));
        assert_eq!(seconds(&["wait=7", "wait=8, wait=9"]), Some(7));
        assert_eq!(seconds(&["wait=0"]), Some(0));
        assert_eq!(seconds(&["wait=31"]), Some(30));
        assert_eq!(seconds(&["wait=99999999999999999999999"]), Some(30));
    }

    #[test]
    fn what_is_no_wait_is_ignored() {
        assert_eq!(seconds(&[]), None);
        for value in ["", "wait", "wait=", "wait=\"\"", "wait=-1", "wait=+1", "wait=1.5"] {
            assert_eq!(seconds(&[value]), None, "{value}");
        }
        for value in ["wait=soon, wait=7", "waiting=7", "note=\"wait=7"] {
            assert_eq!(seconds(&[value]), None, "{value}");
        }
    }
}
