//! The named values of a request, from a body or a query, as the struct that the document shows.
//!
//! The struct says with its types what is allowed. A value that is not becomes a 400 that names the field and its rule.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, value::MapDeserializer},
};
use serde_json::Error;

use crate::http::problem::Problem;

/// The struct that these fields make. A field given twice is refused, and not silently resolved.
pub fn parse<'de, T, V>(fields: Vec<(String, V)>) -> Result<T, Problem>
where
    T: DeserializeOwned,
    V: IntoDeserializer<'de, Error>,
{
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Problem::invalid(pair[0], "must be given once"));
    }
    serde_path_to_error::deserialize(MapDeserializer::new(fields.into_iter())).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(name) => Problem::invalid(name, "is required"),
            None => Problem::invalid(&path, rule(&message)),
        }
    })
}

/// For a field that may be left out: `null` is no value, and must not pass for none.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// What serde says of a value: what it is, which is not repeated, and then what was expected.
fn rule(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    match expected {
        _ if !message.starts_with("unknown field") => format!("must be {}", expected.unwrap_or(message)),
        Some(known) => format!("is not known here; expected {known}"),
        None => "is not known here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{contract::status::Status, number::Within, text::Text};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Example {
        some_text: Text<3>,
        count: Within<1, 5>,
        status: Option<Status>,
        #[serde(default)]
        dry_run: bool,
    }

    fn told(parsed: Result<Example, Problem>) -> String {
        match parsed {
            Err(Problem::InvalidField { field, rule }) => format!("{field} {rule}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_value_that_is_not_allowed_is_told_by_its_name_and_the_rule() {
        let good = [("someText", json!("abc")), ("count", json!(2.0)), ("status", json!("created"))];
        let but = |name: &str, value: Value| {
            let replaced = good.iter().filter(|(field, _)| *field != name);
            let mut fields: Vec<_> =
                replaced.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            fields.push((name.to_owned(), value));
            told(parse(fields))
        };
        let text = "someText must be a text of 1 to 3 characters without U+0000";
        for (name, value, expected) in [
            ("someText", json!("a, expected b"), text),
            ("someText", json!(""), text),
            ("someText", json!(7), "someText must be a string"),
            ("count", json!(6), "count must be an integer from 1 to 5"),
            ("count", json!("2"), "count must be an integer from 1 to 5"),
            ("count", json!(null), "count must be an integer from 1 to 5"),
            ("status", json!("open"), "status must be one of `created`, `confirmed`, `cancelled`"),
            ("dryRun", json!(1), "dryRun must be a boolean"),
        ] {
            assert_eq!(but(name, value), expected);
        }
        let unknown = but("a.b", json!(1));
        assert!(unknown.starts_with("a.b is not known here; expected one of `someText`, "), "{unknown}");
        assert_eq!(told(parse::<Example, Value>(Vec::new())), "someText is required");
    }
}
