//! Tokens for the services, signed as they themselves would sign them.

use std::env;

use anyhow::Result;
use shared::http::auth::Tokens;
use shared::settings::{DEMO_SECRET, JwtSettings};

const LIFETIME_SECONDS: u64 = 24 * 60 * 60;

/// `JWT_SECRET`, else the demo's.
pub fn secret() -> String {
    env::var("JWT_SECRET").ok().filter(|secret| !secret.is_empty()).unwrap_or_else(|| DEMO_SECRET.to_owned())
}

/// A token for the user `sub` that ends in 24 hours.
pub fn sign(secret: &str, sub: &str) -> Result<String> {
    sign_with_scope(secret, sub, None)
}

pub fn sign_with_scope(secret: &str, sub: &str, scope: Option<&str>) -> Result<String> {
    let settings = JwtSettings { jwt_secret: Some(secret.into()), ..JwtSettings::default() };
    Tokens::new(&settings)?.sign(sub, scope, Some(LIFETIME_SECONDS))
}
