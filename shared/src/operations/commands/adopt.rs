//! The `adopt` command.

use std::io::{Write, stdout};

use anyhow::{Context, Result};
use reqwest::Method;

use crate::operations::admin_client::AdminClient;
use crate::operations::routes::adopt::PATH;

/// The `adopt` command: has the service that listens on `client`'s port adopt, and prints what was done.
pub async fn command(client: &AdminClient) -> Result<()> {
    let answer = client.call(Method::POST, PATH).await?;
    let detail = answer["detail"].as_str().unwrap_or_default();
    writeln!(stdout(), "{detail}").context("write to standard output")
}

/// Its help, where `healed` says what the service then gets back.
pub fn explain(command: clap::Command, healed: &str) -> clap::Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    command.long_about(format!(
        "{about}\n\n\
         For a service that is not ready because its consumer belongs to another database, or to a later state of the same \
         one: after the file was lost, replaced or restored from a backup. {healed}\n\n\
         The other database must be stopped for good. What only it knows and the stream no longer holds may be decided a \
         second time; a second answer that differs shows as the dead letter conflicting_result at the order service."
    ))
}
