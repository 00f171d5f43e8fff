//! The `token` command.

use std::io::{Write, stdout};

use anyhow::{Context, Result};
use clap::Args;

use crate::http::auth::Tokens;

const TTL_MAX_SECONDS: u64 = 1_000_000_000;

/// Signs a token with the service's own secret.
#[derive(Debug, Clone, Args)]
pub struct TokenCommand {
    /// The user, as the claim `sub`
    #[arg(long)]
    sub: String,
    /// Space-separated permissions, as the claim `scope`
    #[arg(long)]
    scope: Option<String>,
    /// Seconds until the token expires, at most 1,000,000,000 (31 years); without it the token has no `exp`
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=TTL_MAX_SECONDS))]
    ttl: Option<u64>,
}

impl TokenCommand {
    /// Prints the token alone on a line, so that a shell can take it.
    pub fn print(&self, tokens: &Tokens) -> Result<()> {
        let token = tokens.sign(&self.sub, self.scope.as_deref(), self.ttl)?;
        writeln!(stdout(), "{token}").context("write to standard output")
    }
}
