//! The `adopt` command.

use std::io::{Write, stdout};

use anyhow::{Context, Result};
use reqwest::Method;

use crate::operations::{admin_client::AdminClient, routes::adopt::PATH};

/// The `adopt` command: has the service that listens on `client`'s port adopt, and prints what was done.
pub async fn command(client: &AdminClient) -> Result<()> {
    let answer = client.call(Method::POST, PATH).await?;
    let detail = answer["detail"].as_str().unwrap_or_default();
    writeln!(stdout(), "{detail}").context("write to standard output")
}
