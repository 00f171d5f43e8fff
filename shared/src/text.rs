//! What a text may hold, and how to get the text out of bytes or of a panic.

use std::any::Any;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Whether `text` has 1 to `max_chars` characters, and no U+0000, at which SQLite's `length` stops counting.
pub fn is_text(text: &str, max_chars: usize) -> bool {
    (1..=max_chars).contains(&text.chars().count()) && !text.contains('\0')
}

/// A text of 1 to `MAX` characters that [`is_text`]. Nothing else can be read as one, and its schema says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Completes "must be ".
    pub fn rule() -> String {
        format!("a text of 1 to {MAX} characters without U+0000")
    }

    /// Its schema, for a field that adds a description.
    pub fn object() -> ObjectBuilder {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\x00]+$"));
        text.min_length(Some(1)).max_length(Some(MAX))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(Text(text): Text<MAX>) -> Self {
        text
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_text(&text, MAX) {
            return Ok(Self(text));
        }
        Err(D::Error::invalid_value(Unexpected::Str(&text), &Self::rule().as_str()))
    }
}

impl<const MAX: usize> PartialSchema for Text<MAX> {
    fn schema() -> RefOr<Schema> {
        Self::object().into()
    }
}

impl<const MAX: usize> ToSchema for Text<MAX> {}

/// Some editors begin UTF-8 with U+FEFF. A parser of JSON may ignore it (RFC 8259, section 8.1).
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// `panic!` carries a `String`, or a `&str` when its text has no values in it.
pub fn of_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}
