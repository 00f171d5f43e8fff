//! The authenticated user of a request. A handler that takes one of these as an argument cannot be reached without it.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::numeric_date::NumericDate;
use super::tokens::{Claims, Tokens};
use crate::http::problem::Problem;

/// The scope of operators: the admin routes, and everybody's orders.
pub const ADMIN_SCOPE: &str = "admin";
/// The scope of those who change stock.
pub const INVENTORY_WRITE_SCOPE: &str = "inventory:write";

/// The authenticated user of a request.
#[derive(Debug, Clone)]
pub struct User {
    /// The token's `sub`.
    pub id: String,
    /// The token carries the scope `admin`.
    pub is_admin: bool,
    /// When the token's `exp` ends what it may do, in Unix milliseconds.
    pub until_ms: Option<u64>,
}

impl<S> FromRequestParts<S> for User
where
    Tokens: FromRef<S>,
    S: Send + Sync,
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
            /// The token's `sub`.
            pub id: String,
        }

        impl<S> FromRequestParts<S> for $name
        where
            Tokens: FromRef<S>,
            S: Send + Sync,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let claims = verified(parts, &Tokens::from_ref(state))?.demand($scope)?;
                Ok(Self { id: claims.sub })
            }
        }
    };
}

user_with_scope!(Admin, ADMIN_SCOPE);
user_with_scope!(StockKeeper, INVENTORY_WRITE_SCOPE);

fn verified(parts: &Parts, tokens: &Tokens) -> Result<Claims, Problem> {
    let token = bearer(&parts.headers)
        .ok_or(Problem::Unauthorized("send the header Authorization: Bearer <token>"))?;
    tokens.verify(token).map_err(Problem::Unauthorized)
}

/// The token of the one `Authorization` header. The scheme's name is case-insensitive (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
