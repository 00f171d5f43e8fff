//! What the URI of a request says, as the types that the document shows.

use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fields;
use super::problem::Problem;

/// The one parameter of a path. One that cannot be the name of anything leads nowhere: 404.
pub struct Name<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Name<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|_| Problem::NotFound)
    }
}

/// All parameters of a query that holds only numbers and truths.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        numbers(parameters(&parts.uri)?).map(Self)
    }
}

/// The parameters of a query, decoded, in their order.
pub fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    serde_urlencoded::from_str(uri.query().unwrap_or_default())
        .map_err(|error| Problem::invalid("query", format!("must be form-encoded: {error}")))
}

/// The struct that these make, where what is written like an integer or a truth is one.
fn numbers<T: DeserializeOwned>(parameters: Vec<(String, String)>) -> Result<T, Problem> {
    fields::parse(parameters.into_iter().map(|(name, text)| (name, number(text))).collect())
}

/// An integer in decimal digits, or a truth; any other text stays one.
pub fn number(text: String) -> Value {
    let integer = text.parse::<i64>().map(Value::from);
    integer.or_else(|_| text.parse::<bool>().map(Value::from)).unwrap_or(Value::String(text))
}

/// The struct that these make, where each is a text.
pub fn texts<T: DeserializeOwned>(parameters: Vec<(String, String)>) -> Result<T, Problem> {
    fields::parse(parameters.into_iter().map(|(name, text)| (name, Value::String(text))).collect())
}
