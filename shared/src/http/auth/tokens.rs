//! What a token must say, and the tokens that the commands sign.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};

use super::claims::{Audience, Claims};
use super::keys::Key;
use super::verified::Verified;
use crate::clock::now_ms;
use crate::settings::JwtSettings;

/// No token of use is longer.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
const SUBJECT_MAX_CHARS: usize = 255;
/// What a token is told whose claims cannot be read; never what they hold.
const MALFORMED: &str = "the token is malformed, or one of its claims sub, scope, exp, nbf, iss, aud is missing or of the wrong type";

/// Verifies tokens, and signs them where the key is a secret. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    verified: Verified,
    key: Key,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
    require_exp: bool,
}

impl Tokens {
    /// Fails unless the settings give exactly one usable key.
    pub fn new(settings: &JwtSettings) -> anyhow::Result<Self> {
        let key = Key::load(settings)?;
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (issuer, audience) = (given(&settings.jwt_issuer), given(&settings.jwt_audience));
        let mut validation = Validation::new(key.algorithm);
        // The library refuses a time that is negative or large; `check_times` takes every number.
        validation.validate_exp = false;
        validation.validate_aud = audience.is_some();
        validation.iss = issuer.clone().map(|issuer| [issuer].into());
        validation.aud = audience.clone().map(|audience| [audience].into());
        let required = [("sub", true), ("iss", issuer.is_some()), ("aud", audience.is_some())];
        validation.required_spec_claims =
            required.iter().filter(|(_, required)| *required).map(|(claim, _)| (*claim).to_owned()).collect();
        let require_exp = settings.jwt_require_exp;
        let verified = Verified::default();
        Ok(Self(Arc::new(Inner { verified, key, validation, issuer, audience, require_exp })))
    }

    /// The claims of a token that verifies. The error says what to mend and repeats nothing of the token.
    pub fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err("the token is too long");
        }
        let claims = match self.0.verified.claims(token) {
            Some(claims) => claims,
            None => {
                let claims = self.check_signature(token)?;
                self.0.verified.remember(token, &claims);
                claims
            }
        };
        self.check_times(&claims, now_ms() as u64)?;
        Ok(claims)
    }

    /// All that stays the same as long as the process lives, since its key and its settings do.
    fn check_signature(&self, token: &str) -> Result<Claims, &'static str> {
        let Inner { key, validation, .. } = &*self.0;
        let token = jsonwebtoken::decode::<Claims>(token, &key.verifying, validation)
            .map_err(|error| self.refusal(error.kind()))?;
        // RFC 7515, section 4.1.11: extensions that must be understood, and none is.
        if token.header.crit.is_some() {
            return Err("the token's header must not have crit");
        }
        let sub = &token.claims.sub;
        if !(1..=SUBJECT_MAX_CHARS).contains(&sub.chars().count()) || sub.chars().any(char::is_control) {
            return Err("the token's claim sub must have 1 to 255 characters and no control character");
        }
        Ok(token.claims)
    }

    fn check_times(&self, claims: &Claims, now_ms: u64) -> Result<(), &'static str> {
        match (&claims.exp, &claims.nbf) {
            (None, _) if self.0.require_exp => Err("the token must have the claim exp"),
            (Some(exp), _) if now_ms >= exp.end_ms() => Err("the token has expired"),
            (_, Some(nbf)) if now_ms < nbf.begin_ms() => Err("the token is not valid yet"),
            _ => Ok(()),
        }
    }

    fn refusal(&self, error: &ErrorKind) -> &'static str {
        match error {
            ErrorKind::InvalidSignature => "the token's signature is wrong",
            ErrorKind::InvalidAlgorithm => match self.0.key.algorithm {
                Algorithm::HS256 => "the token must be signed with HS256",
                Algorithm::EdDSA => "the token must be signed with EdDSA",
                _ => "the token must be signed with RS256",
            },
            ErrorKind::InvalidIssuer => "the token's claim iss names another issuer",
            ErrorKind::InvalidAudience => "the token's claim aud names other recipients",
            ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
                "iss" => "the token must have the claim iss",
                "aud" => "the token must have the claim aud",
                _ => MALFORMED,
            },
            _ => MALFORMED,
        }
    }

    /// A signed token that these settings accept; `ttl_seconds` sets `exp` from now.
    pub fn sign(&self, sub: &str, scope: Option<&str>, ttl_seconds: Option<u64>) -> anyhow::Result<String> {
        let Inner { key, issuer, audience, .. } = &*self.0;
        let signing = key.signing.as_ref();
        let signing = signing
            .context("only JWT_SECRET or JWT_SECRET_FILE can sign a token; JWT_PUBLIC_KEY_FILE cannot")?;
        let claims = Claims {
            sub: sub.to_owned(),
            scope: scope.map(str::to_owned),
            exp: ttl_seconds.map(|ttl| (now_ms() as u64 / 1000).saturating_add(ttl).into()),
            nbf: None,
            iss: issuer.clone(),
            aud: audience.clone().map(Audience::One),
        };
        let token = jsonwebtoken::encode(&Header::new(key.algorithm), &claims, signing)?;
        let verified = self.verify(&token).map_err(|why| anyhow!("this token would be refused: {why}"));
        verified.map(|_| token)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use ring::hmac;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::auth::{NumericDate, signatures};
    use crate::settings::DEMO_SECRET;

    fn tokens(require_exp: bool) -> Tokens {
        let jwt_secret = Some(DEMO_SECRET.into());
        let settings = JwtSettings { jwt_secret, jwt_require_exp: require_exp, ..JwtSettings::default() };
        Tokens::new(&settings).unwrap()
    }

    fn signed(claims: Value) -> String {
        signatures::install();
        let key = EncodingKey::from_secret(DEMO_SECRET.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    }

    #[test]
    fn a_token_that_verified_before_is_refused_once_it_has_expired_and_with_another_signature() {
        let tokens = tokens(true);
        // It has a second left of the leeway.
        let token = signed(json!({"sub": "alice", "exp": now_ms() / 1000 - 29}));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let forged =
            format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
        assert_eq!(tokens.verify(&token).unwrap().sub, "alice");
        assert_eq!(tokens.verify(&forged).unwrap_err(), "the token's signature is wrong");
        let until = Instant::now() + Duration::from_secs(5);
        while tokens.verify(&token).is_ok() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(tokens.verify(&token).unwrap_err(), "the token has expired");
    }

    /// A token whose claims are this text, which no library would write.
    fn signed_text(claims: &str) -> String {
        let [head, claims] = [r#"{"alg":"HS256"}"#, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let key = hmac::Key::new(hmac::HMAC_SHA256, DEMO_SECRET.as_bytes());
        let signature = hmac::sign(&key, format!("{head}.{claims}").as_bytes());
        format!("{head}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn the_seeds_sample_token_is_accepted() {
        let token = signed(json!({"sub": "someUserId", "username": "testuser"}));
        assert_eq!(tokens(false).verify(&token).unwrap().sub, "someUserId");
        assert!(tokens(true).verify(&token).is_err());
    }

    #[test]
    fn exp_and_nbf_are_enforced_when_present() {
        let now = now_ms() / 1000;
        let verify = |claims| tokens(false).verify(&signed(claims));
        assert!(verify(json!({"sub": "a", "exp": now + 60, "nbf": now - 60})).is_ok());
        assert!(verify(json!({"sub": "a", "exp": now - 10})).is_ok(), "within the leeway");
        let refusal = |claims| verify(claims).unwrap_err();
        assert_eq!(refusal(json!({"sub": "a", "exp": now - 60})), "the token has expired");
        assert_eq!(refusal(json!({"sub": "a", "nbf": now + 60})), "the token is not valid yet");
        assert!(verify(json!({"sub": "a", "exp": (now + 60).to_string()})).is_err());
    }

    #[test]
    fn a_token_without_a_usable_subject_is_refused() {
        for claims in [json!({}), json!({"sub": ""}), json!({"sub": 7})] {
            assert!(tokens(false).verify(&signed(claims.clone())).is_err(), "{claims}");
        }
    }

    #[test]
    fn a_token_may_have_8_kilobytes_and_no_more() {
        let filled = |size| signed(json!({"sub": "a", "filler": "x".repeat(size)}));
        let of = |length| (6_000..6_200).map(filled).find(|token| token.len() == length).unwrap();
        assert!(tokens(false).verify(&of(8 * 1024)).is_ok());
        assert_eq!(tokens(false).verify(&of(8 * 1024 + 1)).unwrap_err(), "the token is too long");
    }

    #[test]
    fn a_signed_token_says_when_it_ends() {
        let before = now_ms() as u64 / 1000;
        let claims = tokens(true).verify(&tokens(true).sign("a", Some("b c"), Some(60)).unwrap()).unwrap();
        let expected = before + 60..=now_ms() as u64 / 1000 + 60;
        assert!(expected.map(NumericDate::from).any(|exp| claims.exp == Some(exp)), "{claims:?}");
        assert_eq!((claims.sub.as_str(), claims.scope.as_deref()), ("a", Some("b c")));
        let endless = tokens(false).sign("a", None, None).unwrap();
        assert_eq!(tokens(true).verify(&endless).unwrap_err(), "the token must have the claim exp");
    }

    #[test]
    fn a_time_may_be_any_number_of_json_and_nothing_else() {
        let now = now_ms() / 1000;
        let verify = |times: &str| {
            let claims = format!(r#"{{"sub":"a",{}}}"#, times.replace("NOW", &now.to_string()));
            let verified = tokens(true).verify(&signed_text(&claims)).map(|_| ());
            verified.map_err(|why| why.split(',').next().unwrap_or(why))
        };
        let (expired, early) = (Err("the token has expired"), Err("the token is not valid yet"));
        let malformed = Err("the token is malformed");
        for (times, expected) in [
            (r#""exp":NOW.75"#, Ok(())),
            (r#""exp":4.1e9"#, Ok(())),
            (r#""exp":1.9e9,"nbf":NOW.5"#, Ok(())),
            (r#""exp":1e300"#, Ok(())),
            (r#""exp":18446744073709551615"#, Ok(())),
            (r#""exp":NOW,"nbf":0.5"#, Ok(())),
            (r#""exp":NOW,"nbf":-1e300"#, Ok(())),
            (r#""exp":1.1e9"#, expired),
            (r#""exp":-1"#, expired),
            (r#""exp":-1e300"#, expired),
            (r#""exp":0"#, expired),
            (r#""exp":NOW,"nbf":4.1e9"#, early),
            (r#""exp":NOW,"nbf":1e300"#, early),
            (r#""exp":"NOW""#, malformed),
            (r#""exp":null"#, malformed),
            (r#""exp":true"#, malformed),
            (r#""exp":NaN"#, malformed),
            (r#""exp":1e400"#, malformed),
            (r#""exp":NOW,"nbf":"1""#, malformed),
            (r#""exp":NOW,"nbf":null"#, malformed),
        ] {
            assert_eq!(verify(times), expected, "{times}");
        }
    }

    #[test]
    fn a_token_that_would_be_refused_is_not_signed() {
        let refusal =
            |sub: &str, scope| format!("{:#}", tokens(false).sign(sub, scope, Some(u64::MAX)).unwrap_err());
        for sub in ["", "a\nb", "\u{0}", "\u{7f}", &"a".repeat(256)] {
            assert!(refusal(sub, None).contains("claim sub"), "{sub:?}");
        }
        assert!(refusal("a", Some(&"x ".repeat(5_000))).contains("too long"));
        assert!(format!("{:#}", tokens(true).sign("a", None, None).unwrap_err()).contains("claim exp"));
        assert!(tokens(true).sign(&"\u{e9}".repeat(255), None, Some(u64::MAX)).is_ok());
    }
}
