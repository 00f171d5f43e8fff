//! The `healthcheck` command.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the `healthcheck` command waits for an answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The `healthcheck` command: `/readyz` of the service on this machine answers 200.
pub async fn healthcheck(address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}/readyz");
    let client = reqwest::Client::builder().timeout(HEALTHCHECK_TIMEOUT).no_proxy().build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("ask {url}"))?;
    if !answer.status().is_success() {
        bail!("{url} answered {}: {}", answer.status(), answer.text().await.unwrap_or_default());
    }
    Ok(())
}
