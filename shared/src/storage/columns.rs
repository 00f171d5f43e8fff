//! Columns that hold a word of the contract: a word that is unknown is an error, and never another one.

use std::str::FromStr;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Sqlite, Type};

use crate::contract::status::{Reason, Status};

fn word<T: FromStr<Err: Into<BoxDynError>>>(column: SqliteValueRef<'_>) -> Result<T, BoxDynError> {
    <&str as Decode<Sqlite>>::decode(column)?.parse().map_err(Into::into)
}

impl Type<Sqlite> for Status {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Type<Sqlite> for Reason {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<'r> Decode<'r, Sqlite> for Status {
    fn decode(column: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        word(column)
    }
}

impl<'r> Decode<'r, Sqlite> for Reason {
    fn decode(column: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        word(column)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;

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
