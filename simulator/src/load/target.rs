//! Where the orders go, and as whom.

use std::time::Duration;

use anyhow::{Context, Result};
use processes::token;

use super::plan::Mix;
use crate::http::{HttpClient, PATIENCE};

#[derive(Debug, Clone)]
pub struct Target {
    /// The order service, such as `http://127.0.0.1:3000`.
    pub order_url: String,
    /// The inventory service, whose stock is read and recorded; `None`: it is not.
    pub inventory_url: Option<String>,
    pub users: Vec<User>,
    /// How long one request may take before its outcome counts as unknown.
    pub patience: Duration,
}

#[derive(Debug, Clone)]
pub struct User {
    /// The `sub` of the token.
    pub name: String,
    /// `Bearer …`
    pub authorization: String,
}

impl Target {
    /// A target whose tokens are signed with `secret`, one for each user of the mix.
    pub fn signed(order_url: &str, secret: &str, mix: &Mix) -> Result<Self> {
        let user = |name: String| {
            let authorization = format!("Bearer {}", token::sign(secret, &name)?);
            Ok(User { name, authorization })
        };
        let users = mix.user_names().into_iter().map(user).collect::<Result<_>>()?;
        Ok(Self { order_url: trimmed(order_url), inventory_url: None, users, patience: PATIENCE })
    }

    /// A target with a token of which only its service knows whose it is.
    pub fn with_token(order_url: &str, token: &str) -> Self {
        let user = User { name: String::new(), authorization: format!("Bearer {token}") };
        Self { order_url: trimmed(order_url), inventory_url: None, users: vec![user], patience: PATIENCE }
    }

    pub(super) async fn connect(&self) -> Result<HttpClient> {
        Ok(HttpClient::connect(&self.order_url).await?.with_patience(self.patience))
    }

    /// Tells a wrong URL from a service under stress.
    pub async fn probe(&self) -> Result<()> {
        HttpClient::connect(&self.order_url).await.map(drop)
    }

    pub(super) fn user(&self, number: usize) -> Result<&User> {
        self.users.get(number).context("the plan has more users than the target")
    }
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
