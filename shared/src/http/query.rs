//! The query of a request as the struct that the document shows.

use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use serde::{
    Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor},
    forward_to_deserialize_any,
};
use serde_json::Error;

use super::{fields, problem::Problem};

/// All parameters of a query.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parameters(&parts.uri)?).map(Self)
    }
}

/// The parameters of a query, decoded, in their order.
pub fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    serde_urlencoded::from_str(uri.query().unwrap_or_default())
        .map_err(|error| Problem::invalid("query", format!("must be form-encoded: {error}")))
}

/// The struct that these parameters make.
pub fn parse<T: DeserializeOwned>(parameters: Vec<(String, String)>) -> Result<T, Problem> {
    fields::parse(parameters.into_iter().map(|(name, value)| (name, Parameter(value))).collect())
}

/// A value of a query: a text, and a number or a truth where one is wanted.
struct Parameter(String);

impl IntoDeserializer<'_, Error> for Parameter {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Parameter {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.parse() {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => visitor.visit_string(self.0),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.parse() {
            Ok(truth) => visitor.visit_bool(truth),
            Err(_) => visitor.visit_string(self.0),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{contract::status::Status, number::Within};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Example {
        name: String,
        count: Within<1, 5>,
        status: Option<Status>,
        #[serde(default)]
        dry_run: bool,
    }

    fn read(query: &str) -> Result<Example, Problem> {
        parse(parameters(&format!("/?{query}").parse().unwrap())?)
    }

    #[test]
    fn a_query_has_texts_that_are_numbers_and_truths_where_those_are_wanted() {
        let Example { name, count, status, dry_run } =
            read("name=7&count=5&status=confirmed&dryRun=true").unwrap();
        assert_eq!((name.as_str(), count.get(), status, dry_run), ("7", 5, Some(Status::Confirmed), true));
        for (query, told, rule) in [
            ("name=7&count=ten", "count", "must be an integer from 1 to 5"),
            ("name=7&count=", "count", "must be an integer from 1 to 5"),
            ("name=7&count=1&dryRun=1", "dryRun", "must be a boolean"),
            ("name=7&count=1&status=", "status", "must be one of `created`, `confirmed`, `cancelled`"),
            ("count=1", "name", "is required"),
        ] {
            assert_eq!(read(query).unwrap_err(), Problem::invalid(told, rule), "{query}");
        }
    }
}
