//! How the commands reach the admin routes of the running service, with a given token or a signed one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::http::auth::{ADMIN_SCOPE, Tokens};
use crate::settings::JwtSettings;

/// Who the commands are, in logs.
const SUBJECT: &str = "command-line";
/// The token is used at once.
const TOKEN_TTL_SECONDS: u64 = 60;
/// A redrive of many dead letters takes a while.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct AdminClient {
    http: Client,
    base: String,
    token: String,
}

impl AdminClient {
    /// A client of the service at `address`, with ADMIN_TOKEN or else with a token of its own.
    pub fn new(address: SocketAddr, settings: &JwtSettings) -> Result<Self> {
        let given = settings.admin_token.as_ref().map(|token| token.expose().trim());
        let token = match given.filter(|token| !token.is_empty()) {
            Some(token) => token.to_owned(),
            None => Tokens::new(settings)
                .and_then(|tokens| tokens.sign(SUBJECT, Some(ADMIN_SCOPE), Some(TOKEN_TTL_SECONDS)))
                .context("sign a token, as ADMIN_TOKEN gives none")?,
        };
        let http = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http, base: format!("http://{address}"), token })
    }

    /// The JSON body of a successful answer; `Null` when it is empty. A problem's detail becomes the error.
    pub async fn call(&self, method: Method, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let request = self.http.request(method, &url).bearer_auth(&self.token);
        let answer = request.send().await.with_context(|| format!("reach the running service at {url}"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if !status.is_success() {
            bail!("{url} answered {status}: {}", body["detail"].as_str().unwrap_or(&text));
        }
        Ok(body)
    }
}
