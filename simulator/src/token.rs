//! Tokens for the order service, signed as jwt.io would sign them.

use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

/// The secret that every reader of the repository knows.
pub const DEMO_SECRET: &str = "a-string-secret-at-least-256-bits-long";

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

/// `JWT_SECRET`, else the demo's.
pub fn secret() -> String {
    env::var("JWT_SECRET").ok().filter(|secret| !secret.is_empty()).unwrap_or_else(|| DEMO_SECRET.to_owned())
}

/// A token for the user `sub` that ends in 24 hours.
pub fn sign(secret: &str, sub: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let claims = Claims { sub, exp: (now + LIFETIME).as_secs() };
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .context("cannot sign a token")
}
