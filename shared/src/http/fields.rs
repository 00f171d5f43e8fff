//! The named values of a request, from a body or a query, as the struct that the document shows. Its types
//! say what is allowed; a value that is not becomes a 400 that names the field and its rule.

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::problem::Problem;

/// The struct that these fields make. A field given twice is refused, and not silently resolved.
pub fn parse<T: DeserializeOwned>(fields: Vec<(String, Value)>) -> Result<T, Problem> {
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
    use serde_json::json;

    use super::*;
    use crate::contract::status::Status;
    use crate::number::Within;
    use crate::text::Text;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Example {
        some_text: Text<3>,
        count: Within<1, 5>,
        #[serde(default, deserialize_with = "given")]
        status: Option<Status>,
    }

    #[test]
    fn a_value_that_is_not_allowed_is_told_by_its_name_and_the_rule() {
        let text = "must be a text of 1 to 3 characters without U+0000";
        let known = "is not known here; expected one of `someText`, `count`, `status`";
        for (name, value, rule) in [
            ("someText", json!("a, expected b"), text),
            ("someText", json!(7), "must be a string"),
            ("count", json!(6), "must be an integer from 1 to 5"),
            ("count", json!("2"), "must be an integer from 1 to 5"),
            ("status", json!("open"), "must be one of `created`, `confirmed`, `cancelled`"),
            ("a.b", json!(1), known),
        ] {
            let mut fields = vec![("someText".to_owned(), json!("abc")), ("count".to_owned(), json!(2.0))];
            fields.retain(|(field, _)| field != name);
            fields.push((name.to_owned(), value));
            assert_eq!(parse::<Example>(fields).unwrap_err(), Problem::invalid(name, rule));
        }
        let required = Problem::invalid("someText", "is required");
        assert_eq!(parse::<Example>(Vec::new()).unwrap_err(), required);
    }
}
