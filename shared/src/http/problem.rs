//! Every error answer, as `application/problem+json` (RFC 9457) with the request's id.
//!
//! Handlers return a [`Problem`]; the middleware in [`answer`](super::answer) knows the id, and writes it.
//! A 503 means *certainly not stored*; a 504 means *outcome unknown*.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// One error answer, named after what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    InvalidField {
        /// The field as the client spelled it, or `body` for the whole.
        field: String,
        /// The rule, as a sentence about the field.
        rule: String,
    },
    /// No token, or one that does not verify. The text never repeats the token.
    Unauthorized(&'static str),
    MissingScope(&'static str),
    /// Unknown, or somebody else's.
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    UnsupportedMediaType,
    /// The body is compressed or otherwise encoded.
    UnsupportedEncoding,
    KeyReused,
    /// Our fault; the cause is in the log under the request's id.
    Internal,
    /// The text says why, and `Retry-After` when to come again.
    Unavailable(&'static str),
    OutcomeUnknown,
}

/// Seconds in `Retry-After`.
const RETRY_AFTER: &str = "1";

impl Problem {
    /// A 400 about `field`; `rule` completes the sentence that starts with the field's name.
    pub fn invalid(field: &str, rule: impl Into<String>) -> Self {
        Self::InvalidField { field: field.to_owned(), rule: rule.into() }
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.told().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The status, and what is wrong and what to do.
    fn told(&self) -> (u16, Cow<'static, str>) {
        let (status, detail) = match self {
            Self::InvalidField { field, rule } => return (400, format!("{field} {rule}").into()),
            Self::Unauthorized(why) => (401, *why),
            Self::MissingScope(scope) => {
                return (403, format!("the token's scope must include {scope}").into());
            }
            Self::NotFound => (404, "there is nothing here for you"),
            Self::MethodNotAllowed => (405, "this resource does not have that method; see the Allow header"),
            Self::RequestTimeout => (408, "the body did not arrive in time"),
            Self::TooLarge(bytes) => {
                return (413, format!("the body must have at most {bytes} bytes").into());
            }
            Self::UnsupportedMediaType => (415, "send the header Content-Type: application/json"),
            Self::UnsupportedEncoding => (415, "send the body as it is, without Content-Encoding"),
            Self::KeyReused => (422, "this Idempotency-Key was used with another request; use a new key"),
            Self::Internal => (500, "something failed on our side; quote the request id"),
            Self::Unavailable(why) => (503, *why),
            Self::OutcomeUnknown => (
                504,
                "it is not known whether this was stored; repeat the request with the same Idempotency-Key, \
                 or read back what it should have made",
            ),
        };
        (status, detail.into())
    }

    pub fn body(&self, request_id: &str) -> Value {
        let (status, detail) = self.told();
        let title = self.status().canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail, "requestId": request_id,
        });
        if let Self::InvalidField { field, .. } = self {
            body["field"] = json!(field);
        }
        body
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem for the middleware, which writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let header = match &self {
            Self::Unauthorized(_) => Some((header::WWW_AUTHENTICATE, "Bearer")),
            Self::MissingScope(_) => Some((header::WWW_AUTHENTICATE, "Bearer error=\"insufficient_scope\"")),
            Self::Unavailable(_) => Some((header::RETRY_AFTER, RETRY_AFTER)),
            // RFC 9110, section 15.5.16: which encodings would have been accepted.
            Self::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, "identity")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}
