//! What became of an order, in the words that the wire, both databases and the OpenAPI documents share.

use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer;
use serde::de::value::Error as UnknownWord;
use serde::{Deserialize, Serialize};
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Sqlite, Type};
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

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::deserialize(word.into_deserializer())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A text column that holds one of the words, and no other.
macro_rules! from_column {
    ($word:ty) => {
        impl Type<Sqlite> for $word {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }
        }

        impl<'r> Decode<'r, Sqlite> for $word {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                let word = <&str as Decode<Sqlite>>::decode(value)?;
                Ok(Self::deserialize(word.into_deserializer()).map_err(|error: UnknownWord| error)?)
            }
        }
    };
}

from_column!(Status);
from_column!(Reason);

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use sqlx::{Connection, SqliteConnection};

    use super::*;

    #[test]
    fn a_word_is_the_same_in_json_and_as_a_text() {
        for status in [Status::Created, Status::Confirmed, Status::Cancelled] {
            assert_eq!((json!(status), status.as_str().parse()), (json!(status.as_str()), Ok(status)));
            assert_eq!(status.to_string(), status.as_str());
        }
        for (reason, word) in
            [(Reason::InsufficientStock, "insufficient_stock"), (Reason::UnknownProduct, "unknown_product")]
        {
            assert_eq!((json!(reason), from_value(json!(word)).ok()), (json!(word), Some(reason)));
            assert_eq!(reason.to_string(), word);
        }
        assert!("shipped".parse::<Status>().is_err());
    }

    #[tokio::test]
    async fn a_column_with_an_unknown_word_is_an_error_and_not_another_word() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut read = async |words: &'static str| {
            sqlx::query_as::<_, (Status, Option<Reason>)>(words).fetch_one(&mut database).await
        };
        let stored = read("SELECT 'cancelled', 'insufficient_stock'").await.unwrap();
        assert_eq!(stored, (Status::Cancelled, Some(Reason::InsufficientStock)));
        assert_eq!(read("SELECT 'confirmed', NULL").await.unwrap(), (Status::Confirmed, None));
        for unknown in ["SELECT 'cancelled', 'bad_mood'", "SELECT 'shipped', NULL", "SELECT NULL, NULL"] {
            assert!(read(unknown).await.is_err(), "{unknown}");
        }
        let error = read("SELECT 'cancelled', 'bad_mood'").await.unwrap_err().to_string();
        assert!(error.contains("bad_mood"), "{error}");
    }
}
