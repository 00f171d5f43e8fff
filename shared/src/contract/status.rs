//! What became of an order, in the words that the wire, both databases and the OpenAPI documents share.

use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer;
use serde::de::value::Error as UnknownWord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of an order so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored; the inventory has not answered yet.
    #[default]
    Created,
    /// Stock was taken for it.
    Confirmed,
    /// The inventory refused; the [`Reason`] says why.
    Cancelled,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The product has less stock than the order's quantity.
    InsufficientStock,
    /// The inventory does not know the product.
    UnknownProduct,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientStock => "insufficient_stock",
            Self::UnknownProduct => "unknown_product",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::deserialize(word.into_deserializer())
    }
}

impl FromStr for Reason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::deserialize(word.into_deserializer())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_is_the_same_in_json_and_as_a_text() {
        for status in [Status::Created, Status::Confirmed, Status::Cancelled] {
            assert_eq!((json!(status), status.as_str().parse()), (json!(status.as_str()), Ok(status)));
        }
        for reason in [Reason::InsufficientStock, Reason::UnknownProduct] {
            assert_eq!((json!(reason), reason.as_str().parse()), (json!(reason.as_str()), Ok(reason)));
        }
        assert!("shipped".parse::<Status>().is_err());
    }
}
