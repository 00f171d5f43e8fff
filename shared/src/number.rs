//! What counts as an integer in JSON, over HTTP and in events alike.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// An integer from `MIN` to `MAX`: nothing else can be read as one, and its schema says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Within<MIN, MAX> {
    /// A number of ours; one outside does not compile where it is a constant.
    pub const fn new(number: i64) -> Self {
        assert!(MIN <= number && number <= MAX);
        Self(number)
    }

    pub fn get(self) -> i64 {
        self.0
    }

    /// Its schema, for a field that adds a description.
    pub fn object() -> ObjectBuilder {
        let integer = ObjectBuilder::new().schema_type(Type::Integer);
        let integer = integer.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        integer.minimum(Some(MIN)).maximum(Some(MAX))
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Range::<MIN, MAX>).map(Self)
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Within<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        Self::object().into()
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for Within<MIN, MAX> {}

/// A field of an event that is any integer.
pub(crate) fn integer_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_i64(Range::<{ i64::MIN }, { i64::MAX }>)
}

/// Takes the integer that a JSON number is: `2.0` is 2 (JSON Schema 2020-12 validation, section 6.1.1).
struct Range<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Visitor<'_> for Range<MIN, MAX> {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (MIN, MAX) {
            (i64::MIN, i64::MAX) => write!(formatter, "an integer"),
            _ => write!(formatter, "an integer from {MIN} to {MAX}"),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        let is_within = (MIN..=MAX).contains(&number);
        is_within.then_some(number).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        // Up to here each integer has a floating-point number of its own.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
            return self.visit_i64(number as i64);
        }
        Err(E::invalid_type(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_may_be_written_with_a_fraction_of_zero() {
        for (value, expected) in [
            (json!(2), Some(2)),
            (json!(2.0), Some(2)),
            (json!(-1.0), Some(-1)),
            (json!(1e3), Some(1000)),
            (json!(9_007_199_254_740_992.0), Some(9_007_199_254_740_992)),
            (json!(1e300), None),
            (json!(1.5), None),
            (json!(u64::MAX), None),
            (json!("2"), None),
            (json!(null), None),
        ] {
            assert_eq!(integer_field(&value).ok(), expected, "{value}");
        }
    }
}
