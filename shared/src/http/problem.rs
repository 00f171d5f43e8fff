//! Every error answer, as `application/problem+json` (RFC 9457) with the request's id.
//!
//! Handlers return a [`Problem`]; one middleware in [`http`](crate::http) renders it, because only there is the
//! request's id known. A 503 means *certainly not stored*; a 504 means *outcome unknown*.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

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

    /// The status code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::InvalidField { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::MissingScope(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::InvalidField { field, rule } => format!("{field} {rule}"),
            Self::Unauthorized(why) | Self::Unavailable(why) => (*why).to_owned(),
            Self::MissingScope(scope) => format!("the token's scope must include {scope}"),
            Self::NotFound => "there is nothing here for you".to_owned(),
            Self::MethodNotAllowed => {
                "this resource does not have that method; see the Allow header".to_owned()
            }
            Self::RequestTimeout => "the body did not arrive in time".to_owned(),
            Self::TooLarge(bytes) => format!("the body must have at most {bytes} bytes"),
            Self::UnsupportedMediaType => "send the header Content-Type: application/json".to_owned(),
            Self::UnsupportedEncoding => "send the body as it is, without Content-Encoding".to_owned(),
            Self::KeyReused => "this Idempotency-Key was used with another request; use a new key".to_owned(),
            Self::Internal => "something failed on our side; quote the request id".to_owned(),
            Self::OutcomeUnknown => {
                "it is not known whether this was stored; repeat the request with the same Idempotency-Key, \
                 or read back what it should have made"
                    .to_owned()
            }
        }
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> Value {
        let status = self.status();
        let mut body = Map::new();
        body.insert("type".to_owned(), json!("about:blank"));
        body.insert("title".to_owned(), json!(status.canonical_reason().unwrap_or("Error")));
        body.insert("status".to_owned(), json!(status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail()));
        if let Self::InvalidField { field, .. } = self {
            body.insert("field".to_owned(), json!(field));
        }
        body.insert("requestId".to_owned(), json!(request_id));
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem for the middleware, which writes the body.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        match &self {
            Self::Unauthorized(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::MissingScope(_) => {
                let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            // RFC 9110, section 15.5.16: which encodings would have been accepted.
            Self::UnsupportedEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}
