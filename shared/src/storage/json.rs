//! A whole batch as one bound value: each statement is a hop to the connection's thread.

use serde::Serialize;

/// `rows` as the JSON text that `json_each($1)` takes.
pub fn json<T: Serialize>(rows: &T) -> String {
    // Strings, integers, options and arrays of them always have a JSON form.
    serde_json::to_string(rows).unwrap_or_default()
}
