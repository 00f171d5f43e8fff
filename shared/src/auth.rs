//! Who is calling: HS256 bearer tokens, verified against one secret with one pinned algorithm.
//!
//! Sources: RFC 6750 (bearer tokens), RFC 7519 (claims), RFC 8725 (pinning the algorithm).

use anyhow::{Context, ensure};
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{
    events::now_ms,
    problem::Problem,
    settings::{DEMO_SECRET, JwtSettings},
};

/// RFC 7518, section 3.2: an HS256 key has at least the 256 bits of the hash.
const SECRET_MIN_BYTES: usize = 32;
/// Clocks may differ by this many seconds when `exp` and `nbf` are checked.
const LEEWAY_SECONDS: u64 = 30;
/// No token of use is longer, in bytes.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// The longest `sub`, in characters.
const SUBJECT_MAX_CHARS: usize = 255;

/// The scope of operators: the admin routes, and everybody's orders.
pub const ADMIN_SCOPE: &str = "admin";
/// The scope of those who change stock.
pub const INVENTORY_WRITE_SCOPE: &str = "inventory:write";

/// The claims that the services read or write; others are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The user. 1–255 characters.
    pub sub: String,
    /// Space-separated permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Not valid after, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Not valid before, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
}

impl Claims {
    fn has_scope(&self, wanted: &str) -> bool {
        self.scope.as_deref().is_some_and(|scope| scope.split(' ').any(|scope| scope == wanted))
    }

    fn demand(self, scope: &'static str) -> Result<Self, Problem> {
        if self.has_scope(scope) { Ok(self) } else { Err(Problem::MissingScope(scope)) }
    }
}

/// Verifies and signs tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    keys: Arc<(EncodingKey, DecodingKey, Validation)>,
}

impl Tokens {
    /// Fails without a secret or with a short one, and warns when it is the published one.
    pub fn new(settings: &JwtSettings) -> anyhow::Result<Self> {
        let secret = settings.jwt_secret.as_ref().context("set JWT_SECRET to a key of at least 32 bytes")?;
        if secret.expose() == DEMO_SECRET {
            tracing::warn!("JWT_SECRET is the published demo secret: anybody can sign tokens");
        }
        let secret = secret.expose().as_bytes();
        let length = secret.len();
        ensure!(
            length >= SECRET_MIN_BYTES,
            "JWT_SECRET must have at least {SECRET_MIN_BYTES} bytes, has {length}"
        );
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(if settings.jwt_require_exp {
            &["exp", "sub"]
        } else {
            &["sub"]
        });
        let keys = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret), validation);
        Ok(Self { keys: Arc::new(keys) })
    }

    /// The claims of a token that verifies. The error says what to mend and repeats nothing of the token.
    pub fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        use jsonwebtoken::errors::ErrorKind;
        if token.len() > TOKEN_MAX_BYTES {
            return Err("the token is too long");
        }
        let (_, decoding, validation) = &*self.keys;
        let claims = jsonwebtoken::decode::<Claims>(token, decoding, validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => "the token has expired",
                ErrorKind::ImmatureSignature => "the token is not valid yet",
                ErrorKind::InvalidSignature => "the token's signature is wrong",
                ErrorKind::InvalidAlgorithm => "the token must be signed with HS256",
                ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => {
                    "the token must have the claim exp"
                }
                _ => "the token is malformed, or a claim is missing or of the wrong type",
            })?
            .claims;
        match claims.sub.chars().count() {
            1..=SUBJECT_MAX_CHARS => Ok(claims),
            _ => Err("the token's claim sub must have 1 to 255 characters"),
        }
    }

    /// A signed token. `ttl_seconds` sets `exp` from now.
    pub fn sign(&self, sub: &str, scope: Option<&str>, ttl_seconds: Option<u64>) -> anyhow::Result<String> {
        let exp = ttl_seconds.map(|ttl| now_ms() as u64 / 1000 + ttl);
        let claims = Claims { sub: sub.to_owned(), scope: scope.map(str::to_owned), exp, nbf: None };
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.keys.0)?)
    }
}

/// The authenticated user of a request.
#[derive(Debug, Clone)]
pub struct User {
    /// The token's `sub`.
    pub id: String,
    /// The token carries the scope `admin`.
    pub is_admin: bool,
    /// The token's `exp`, in Unix seconds.
    pub expires_at: Option<u64>,
}

impl<S> FromRequestParts<S> for User
where
    Tokens: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let claims = verified(parts, &Tokens::from_ref(state))?;
        Ok(Self { is_admin: claims.has_scope(ADMIN_SCOPE), expires_at: claims.exp, id: claims.sub })
    }
}

/// The authenticated user of a request whose token carries the scope `admin`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The token's `sub`.
    pub id: String,
}

impl<S> FromRequestParts<S> for Admin
where
    Tokens: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let claims = verified(parts, &Tokens::from_ref(state))?.demand(ADMIN_SCOPE)?;
        Ok(Self { id: claims.sub })
    }
}

/// The authenticated user of a request whose token carries the scope `inventory:write`.
#[derive(Debug, Clone)]
pub struct StockKeeper {
    /// The token's `sub`.
    pub id: String,
}

impl<S> FromRequestParts<S> for StockKeeper
where
    Tokens: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let claims = verified(parts, &Tokens::from_ref(state))?.demand(INVENTORY_WRITE_SCOPE)?;
        Ok(Self { id: claims.sub })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(require_exp: bool) -> Tokens {
        let secret = DEMO_SECRET.parse().unwrap();
        Tokens::new(&JwtSettings { jwt_secret: Some(secret), jwt_require_exp: require_exp }).unwrap()
    }

    fn signed(claims: serde_json::Value) -> String {
        let key = EncodingKey::from_secret(DEMO_SECRET.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    }

    #[test]
    fn the_seeds_sample_token_is_accepted() {
        let token = signed(serde_json::json!({"sub": "someUserId", "username": "testuser"}));
        assert_eq!(tokens(false).verify(&token).unwrap().sub, "someUserId");
        assert!(tokens(true).verify(&token).is_err());
    }

    #[test]
    fn exp_and_nbf_are_enforced_when_present() {
        let now = now_ms() / 1000;
        let verify = |claims| tokens(false).verify(&signed(claims));
        assert!(verify(serde_json::json!({"sub": "a", "exp": now + 60, "nbf": now - 60})).is_ok());
        assert!(verify(serde_json::json!({"sub": "a", "exp": now - 10})).is_ok(), "within the leeway");
        assert!(verify(serde_json::json!({"sub": "a", "exp": now - 60})).is_err());
        assert!(verify(serde_json::json!({"sub": "a", "nbf": now + 60})).is_err());
        assert!(verify(serde_json::json!({"sub": "a", "exp": (now + 60).to_string()})).is_err());
    }

    #[test]
    fn a_token_without_a_usable_subject_is_refused() {
        for claims in [serde_json::json!({}), serde_json::json!({"sub": ""}), serde_json::json!({"sub": 7})] {
            assert!(tokens(false).verify(&signed(claims.clone())).is_err(), "{claims}");
        }
    }
}
