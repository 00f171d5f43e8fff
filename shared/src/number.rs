//! What counts as an integer in JSON, over HTTP and in events alike.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};
use serde_json::Value;

/// The integer that a JSON number is. `2.0` is the integer 2 (JSON Schema 2020-12, section 6.1.1 of the validation vocabulary).
pub fn integer(value: &Value) -> Option<i64> {
    // Up to here each integer has a floating-point number of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    value.as_i64().or_else(|| value.as_f64().filter(whole).map(|number| number as i64))
}

/// The same for a field of an event.
pub(crate) fn integer_field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    integer(&value).ok_or_else(|| {
        let found = match &value {
            Value::String(text) => Unexpected::Str(text),
            Value::Number(number) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            _ => Unexpected::Other("something else"),
        };
        D::Error::invalid_type(found, &"an integer")
    })
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
            assert_eq!(integer(&value), expected, "{value}");
        }
    }
}
