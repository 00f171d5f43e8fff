//! The authenticated user of a request. A handler that takes one cannot be reached without.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::claims::Claims;
use super::numeric_date::NumericDate;
use super::tokens::Tokens;
use crate::http::head::one;
use crate::http::problem::Problem;

/// The scope of operators: the admin routes, and everybody's orders.
pub const ADMIN_SCOPE: &str = "admin";
/// The scope of those who change stock.
pub const INVENTORY_WRITE_SCOPE: &str = "inventory:write";

/// Whoever sent the request. A handler that takes one cannot be reached without a valid token.
#[derive(Debug, Clone)]
pub struct User {
    /// The token's `sub`.
    pub id: String,
    pub is_admin: bool,
    /// When the token's `exp` ends what it may do, in Unix milliseconds.
    pub until_ms: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for User
where
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let claims = verified(parts, &Tokens::from_ref(state))?;
        let until_ms = claims.exp.as_ref().map(NumericDate::end_ms);
        Ok(Self { is_admin: claims.has_scope(ADMIN_SCOPE), until_ms, id: claims.sub })
    }
}

macro_rules! user_with_scope {
    ($name:ident, $scope:expr) => {
        /// The authenticated user of a request whose token carries this scope.
        #[derive(Debug, Clone)]
        pub struct $name {
            pub id: String,
        }

        impl<S: Send + Sync> FromRequestParts<S> for $name
        where
            Tokens: FromRef<S>,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let claims = verified(parts, &Tokens::from_ref(state))?;
                let id = claims.has_scope($scope).then_some(claims.sub);
                id.map(|id| Self { id }).ok_or(Problem::MissingScope($scope))
            }
        }
    };
}

user_with_scope!(Admin, ADMIN_SCOPE);
user_with_scope!(StockKeeper, INVENTORY_WRITE_SCOPE);

fn verified(parts: &Parts, tokens: &Tokens) -> Result<Claims, Problem> {
    let value = one(&parts.headers, AUTHORIZATION).ok().flatten().and_then(|value| value.to_str().ok());
    // The scheme's name is case-insensitive (RFC 9110, section 11.1).
    let token = value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Problem::Unauthorized("send the header Authorization: Bearer <token>"))?;
    tokens.verify(token).map_err(Problem::Unauthorized)
}
