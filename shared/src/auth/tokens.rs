//! What a token must say, and the tokens that the commands sign.

use std::sync::Arc;

use anyhow::Context;
use jsonwebtoken::{Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::keys::Key;
use crate::{events::now_ms, problem::Problem, settings::JwtSettings};

/// Clocks may differ by this many seconds when `exp` and `nbf` are checked.
pub const LEEWAY_SECONDS: u64 = 30;
/// No token of use is longer, in bytes.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// The longest `sub`, in characters.
const SUBJECT_MAX_CHARS: usize = 255;
/// What a token is told whose claims cannot be read; never what they hold.
const MALFORMED: &str = "the token is malformed, or one of its claims sub, scope, exp, nbf, iss, aud is missing or of the wrong type";

/// The claims that the services read or write (RFC 7519, section 4.1); others are ignored.
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
    /// Who issued the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// For whom it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
}

/// One recipient or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    One(String),
    /// Each of them may take the token.
    Several(Vec<String>),
}

impl Claims {
    /// The token carries this scope.
    pub(super) fn has_scope(&self, wanted: &str) -> bool {
        self.scope.as_deref().is_some_and(|scope| scope.split(' ').any(|scope| scope == wanted))
    }

    /// The claims of a token that carries this scope; 403 for any other.
    pub(super) fn demand(self, scope: &'static str) -> Result<Self, Problem> {
        if self.has_scope(scope) { Ok(self) } else { Err(Problem::MissingScope(scope)) }
    }
}

/// Verifies tokens, and signs them where the key is a secret. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    key: Key,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Tokens {
    /// Fails unless the settings give exactly one usable key.
    pub fn new(settings: &JwtSettings) -> anyhow::Result<Self> {
        let key = Key::load(settings)?;
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (issuer, audience) = (given(&settings.jwt_issuer), given(&settings.jwt_audience));
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.validate_aud = audience.is_some();
        validation.iss = issuer.clone().map(|issuer| [issuer].into());
        validation.aud = audience.clone().map(|audience| [audience].into());
        let required = [
            ("sub", true),
            ("exp", settings.jwt_require_exp),
            ("iss", issuer.is_some()),
            ("aud", audience.is_some()),
        ];
        validation.required_spec_claims =
            required.iter().filter(|(_, required)| *required).map(|(claim, _)| (*claim).to_owned()).collect();
        Ok(Self { inner: Arc::new(Inner { key, validation, issuer, audience }) })
    }

    /// The claims of a token that verifies. The error says what to mend and repeats nothing of the token.
    pub fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err("the token is too long");
        }
        let Inner { key, validation, .. } = &*self.inner;
        let token = jsonwebtoken::decode::<Claims>(token, &key.verifying, validation)
            .map_err(|error| self.refusal(error.kind()))?;
        // RFC 7515, section 4.1.11: extensions that must be understood, and none is.
        if token.header.crit.is_some() {
            return Err("the token's header must not have crit");
        }
        match token.claims.sub.chars().count() {
            1..=SUBJECT_MAX_CHARS => Ok(token.claims),
            _ => Err("the token's claim sub must have 1 to 255 characters"),
        }
    }

    fn refusal(&self, error: &ErrorKind) -> &'static str {
        match error {
            ErrorKind::ExpiredSignature => "the token has expired",
            ErrorKind::ImmatureSignature => "the token is not valid yet",
            ErrorKind::InvalidSignature => "the token's signature is wrong",
            ErrorKind::InvalidAlgorithm => self.inner.key.wrong_algorithm,
            ErrorKind::InvalidIssuer => "the token's claim iss names another issuer",
            ErrorKind::InvalidAudience => "the token's claim aud names other recipients",
            ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
                "exp" => "the token must have the claim exp",
                "iss" => "the token must have the claim iss",
                "aud" => "the token must have the claim aud",
                _ => MALFORMED,
            },
            _ => MALFORMED,
        }
    }

    /// A signed token that these settings accept. `ttl_seconds` sets `exp` from now. A public key cannot sign.
    pub fn sign(&self, sub: &str, scope: Option<&str>, ttl_seconds: Option<u64>) -> anyhow::Result<String> {
        let Inner { key, issuer, audience, .. } = &*self.inner;
        let signing = key
            .signing
            .as_ref()
            .context("only JWT_SECRET or JWT_SECRET_FILE can sign a token; JWT_PUBLIC_KEY_FILE cannot")?;
        let claims = Claims {
            sub: sub.to_owned(),
            scope: scope.map(str::to_owned),
            exp: ttl_seconds.map(|ttl| now_ms() as u64 / 1000 + ttl),
            nbf: None,
            iss: issuer.clone(),
            aud: audience.clone().map(Audience::One),
        };
        Ok(jsonwebtoken::encode(&Header::new(key.algorithm), &claims, signing)?)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey};

    use super::*;
    use crate::settings::DEMO_SECRET;

    fn tokens(require_exp: bool) -> Tokens {
        let jwt_secret = Some(DEMO_SECRET.parse().unwrap());
        Tokens::new(&JwtSettings { jwt_secret, jwt_require_exp: require_exp, ..JwtSettings::default() })
            .unwrap()
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
        let refusal = |claims| verify(claims).unwrap_err();
        assert_eq!(refusal(serde_json::json!({"sub": "a", "exp": now - 60})), "the token has expired");
        assert_eq!(refusal(serde_json::json!({"sub": "a", "nbf": now + 60})), "the token is not valid yet");
        assert!(verify(serde_json::json!({"sub": "a", "exp": (now + 60).to_string()})).is_err());
    }

    #[test]
    fn a_token_without_a_usable_subject_is_refused() {
        for claims in [serde_json::json!({}), serde_json::json!({"sub": ""}), serde_json::json!({"sub": 7})] {
            assert!(tokens(false).verify(&signed(claims.clone())).is_err(), "{claims}");
        }
    }

    #[test]
    fn a_token_may_have_8_kilobytes_and_no_more() {
        let filled = |size| signed(serde_json::json!({"sub": "a", "filler": "x".repeat(size)}));
        let of = |length| (6_000..6_200).map(filled).find(|token| token.len() == length).unwrap();
        assert!(tokens(false).verify(&of(8 * 1024)).is_ok());
        assert_eq!(tokens(false).verify(&of(8 * 1024 + 1)).unwrap_err(), "the token is too long");
    }

    #[test]
    fn a_signed_token_says_when_it_ends() {
        let before = now_ms() as u64 / 1000;
        let claims = tokens(true).verify(&tokens(true).sign("a", Some("b c"), Some(60)).unwrap()).unwrap();
        let expected = before + 60..=now_ms() as u64 / 1000 + 60;
        assert!(expected.contains(&claims.exp.unwrap()), "{claims:?}, expected {expected:?}");
        assert_eq!((claims.sub.as_str(), claims.scope.as_deref()), ("a", Some("b c")));
        assert_eq!(
            tokens(true).verify(&tokens(true).sign("a", None, None).unwrap()).unwrap_err(),
            "the token must have the claim exp"
        );
    }
}
