//! The `Idempotency-Key` header: 1–255 characters, as a quoted string (RFC 9651, section 3.3.3) as the lapsed
//! IETF draft -07 has it, or bare, as most clients send it.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use super::head::one;
use super::problem::Problem;

pub const NAME: &str = "Idempotency-Key";
const MAX_CHARS: usize = 255;
const REPLAYED: &str = "idempotency-replayed";

/// The request's key, if it has one.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub struct IdempotencyKey(
    /// The same key and request again store nothing and get the first answer's order or change, as it is now. 1 to 255
    /// characters, quoted (RFC 9651) or bare.
    #[param(
        nullable = false,
        max_length = 512,
        pattern = r#"^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~][ -~]{0,254})$"#
    )]
    pub Option<String>,
);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(&parts.headers).map_err(|rule| Problem::invalid(NAME, rule))
    }
}

/// The error is the rule that the header breaks.
fn read(headers: &HeaderMap) -> Result<IdempotencyKey, String> {
    let Some(value) = one(headers, NAME)? else { return Ok(IdempotencyKey(None)) };
    let text = value.to_str().map_err(|_| "must be printable ASCII")?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest).ok_or("must be a well-formed quoted string")?,
        None => text.to_owned(),
    };
    match key.len() {
        // A tab may stand in a header's value, and is not printable.
        _ if key.contains('\t') => Err("must be printable ASCII".to_owned()),
        1..=MAX_CHARS => Ok(IdempotencyKey(Some(key))),
        _ => Err(format!("must have 1 to {MAX_CHARS} characters")),
    }
}

/// The answer, which says of a `replayed` request that nothing was stored.
pub fn answered(replayed: bool, answer: impl IntoResponse) -> Response {
    (replayed.then_some([(REPLAYED, "true")]), answer).into_response()
}

/// The content of a quoted string, given what follows its opening quote.
fn unquote(rest: &str) -> Option<String> {
    let mut content = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(content),
            '\\' => content.push(chars.next().filter(|char| matches!(char, '"' | '\\'))?),
            char => content.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, value.parse().unwrap());
        read(&headers).map(|IdempotencyKey(key)| key)
    }

    #[test]
    fn a_key_is_the_same_quoted_or_bare() {
        assert_eq!(key("abc").unwrap().unwrap(), "abc");
        assert_eq!(key("\"abc\"").unwrap().unwrap(), "abc");
        assert_eq!(key(r#""a\"b\\c""#).unwrap().unwrap(), r#"a"b\c"#);
        assert_eq!(read(&HeaderMap::new()).unwrap(), IdempotencyKey(None));
    }

    #[test]
    fn a_key_that_breaks_a_rule_is_refused() {
        for value in ["", "a\tb", "\"\"", "\"open", "\"a\"b", r#""a\n""#] {
            assert!(key(value).is_err(), "{value}");
        }
        assert!(key(&"k".repeat(255)).is_ok());
        assert!(key(&"k".repeat(256)).is_err());
        assert!(key(&format!("\"{}\"", r#"\""#.repeat(255))).is_ok(), "what is escaped is one character");
        assert!(key(&format!("\"{}\"", "k".repeat(256))).is_err());
    }
}
