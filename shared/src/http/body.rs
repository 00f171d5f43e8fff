//! The JSON object of a request body, bounded in size and time, with a clear error for all that is wrong.

use std::fmt;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserializer as _;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde_json::{Deserializer, Value};

use super::fields;
use super::head::one;
use super::problem::Problem;
use crate::text::without_byte_order_mark;

const BODY_MAX_BYTES: usize = 16 * 1024;
/// A body must arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that is the JSON object that `T` describes.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::UnsupportedMediaType);
        }
        if is_encoded(request.headers()) {
            return Err(Problem::UnsupportedEncoding);
        }
        let bytes = read(request.into_body()).await?;
        let text = without_byte_order_mark(&bytes);
        // What is right is read at once. Whatever is not is read again, more slowly, to tell what is wrong with it.
        if text.trim_ascii_start().starts_with(b"{")
            && let Ok(body) = serde_json::from_slice(text)
        {
            return Ok(Self(body));
        }
        let mut json = Deserializer::from_slice(text);
        let fields = json.deserialize_map(JsonObject).and_then(|fields| json.end().map(|()| fields));
        let fields =
            fields.map_err(|error| Problem::invalid("body", format!("must be one JSON object: {error}")))?;
        fields::parse(fields).map(Self)
    }
}

/// The media type, told once, is `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Ok(Some(value)) = one(headers, CONTENT_TYPE) else { return false };
    let media_type = value.to_str().ok().and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

/// A content coding was applied, or is said to have been. `identity` is none (RFC 9110, section 12.5.3).
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn read(body: axum::body::Body) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(Problem::TooLarge(BODY_MAX_BYTES));
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::TooLarge(BODY_MAX_BYTES)),
        Ok(Err(_)) => Err(Problem::invalid("body", "must arrive whole")),
        Err(_) => Err(Problem::RequestTimeout),
    }
}

/// The fields of a JSON object in the order in which they came, each as often as it was given.
struct JsonObject;

impl<'de> Visitor<'de> for JsonObject {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect()
    }
}
