//! Every error answer, as `application/problem+json` (RFC 9457) with the request's id.
//!
//! Handlers return a [`Problem`]; one middleware in [`http`](crate::http) renders it, because only there is the
//! request's id known. A 503 means *certainly not stored*; a 504 means *outcome unknown*.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// One error answer, named after what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 400: a field breaks a rule.
    InvalidField {
        /// The field as the client spelled it, or `body` for the whole.
        field: String,
        /// The rule, as a sentence about the field.
        rule: String,
    },
    /// 401: no token, or one that does not verify. The text never repeats the token.
    Unauthorized(&'static str),
    /// 403: the token lacks this scope.
    MissingScope(&'static str),
    /// 404: unknown, or somebody else's.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    RequestTimeout,
    /// 413: the body is larger than this many bytes.
    TooLarge(usize),
    /// 415: the body is not declared as JSON.
    UnsupportedMediaType,
    /// 415: the body is compressed or otherwise encoded.
    UnsupportedEncoding,
    /// 422: the idempotency key was used with another request.
    KeyReused,
    /// 500: our fault; the cause is in the log under the request's id.
    Internal,
    /// 503: certainly not stored; the text says why, and `Retry-After` when to come again.
    Unavailable(&'static str),
    /// 504: it is not known whether the request was stored.
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
        self.told().0
    }

    /// The status, and what is wrong and what to do.
    fn told(&self) -> (StatusCode, Cow<'static, str>) {
        let (status, detail) = match self {
            Self::InvalidField { field, rule } => {
                return (StatusCode::BAD_REQUEST, format!("{field} {rule}").into());
            }
            Self::MissingScope(scope) => {
                return (StatusCode::FORBIDDEN, format!("the token's scope must include {scope}").into());
            }
            Self::TooLarge(bytes) => {
                let detail = format!("the body must have at most {bytes} bytes");
                return (StatusCode::PAYLOAD_TOO_LARGE, detail.into());
            }
            Self::Unauthorized(why) => (StatusCode::UNAUTHORIZED, *why),
            Self::NotFound => (StatusCode::NOT_FOUND, "there is nothing here for you"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "this resource does not have that method; see the Allow header",
            ),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the header Content-Type: application/json")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body as it is, without Content-Encoding")
            }
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key was used with another request; use a new key",
            ),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "something failed on our side; quote the request id")
            }
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, *why),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "it is not known whether this was stored; repeat the request with the same Idempotency-Key, \
                 or read back what it should have made",
            ),
        };
        (status, detail.into())
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> Value {
        let (status, detail) = self.told();
        let title = status.canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "requestId": request_id,
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
