//! A dead letter in an answer.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::rfc3339;
use crate::delivery::dead_letter::store::DeadLetter;

/// A dead letter as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub struct View {
    pub(super) id: i64,
    subject: String,
    reason: String,
    detail: String,
    attempts: i64,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    headers: Option<Value>,
    body_bytes: i64,
    /// The body where it is UTF-8…
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body: Option<String>,
    /// … and otherwise in base64. Either may be only the beginning of the `bodyBytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body_base64: Option<String>,
}

impl From<DeadLetter> for View {
    fn from(letter: DeadLetter) -> Self {
        let cut = (letter.body.len() as i64) < letter.body_bytes;
        let text = text(&letter.body, cut).map(str::to_owned);
        Self {
            id: letter.id,
            subject: letter.subject,
            reason: letter.reason,
            detail: letter.detail,
            attempts: letter.attempts,
            first_seen_at: rfc3339(letter.first_seen_at),
            last_seen_at: rfc3339(letter.last_seen_at),
            headers: letter.headers.and_then(|headers| serde_json::from_str(&headers).ok()),
            body_bytes: letter.body_bytes,
            body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&letter.body)),
            body: text,
        }
    }
}

/// The bytes as text; a `cut` may go through the last character, which is then left out.
fn text(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_where_it_is_utf8_also_when_a_cut_goes_through_a_character() {
        assert_eq!(text("grün".as_bytes(), false), Some("grün"));
        assert_eq!(text(&"grün".as_bytes()[..3], true), Some("gr"));
        assert_eq!(text(&"grün".as_bytes()[..3], false), None, "whole, and so not UTF-8");
        assert_eq!(text(b"\xff\xfe", true), None);
    }
}
