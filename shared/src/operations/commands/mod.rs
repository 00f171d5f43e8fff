//! The small tools of a service's binary. Most ask the running service; only `backup` opens the database itself.

mod backup;
mod dead_letters;
mod token;

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use reqwest::Method;

use self::backup::BackupCommand;
use self::dead_letters::DeadLettersCommand;
use self::token::TokenCommand;
use crate::broker::adoption::{Healing, WARNING};
use crate::http::auth::Tokens;
use crate::operations::admin_client::AdminClient;
use crate::operations::routes::adopt::PATH;
use crate::settings::{JwtSettings, ServiceSettings};

/// How long the command `healthcheck` waits for an answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Each reads only the variables that [`command_line`](crate::operations::command_line) names.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the service on this machine whether it is ready; exit 0 or 1
    Healthcheck,
    /// Make the consumer at the broker belong to the database of the service on this machine
    Adopt,
    /// Print a token signed with JWT_SECRET or JWT_SECRET_FILE
    Token(TokenCommand),
    /// List, show, redrive or discard the dead letters of the service on this machine
    DeadLetters(DeadLettersCommand),
    /// Write a consistent copy of DATABASE, also while the service runs
    Backup(BackupCommand),
}

impl Command {
    pub fn run<'a, Own: Args>(&'a self, settings: &'a ServiceSettings<Own>) -> BoxFuture<'a, Result<()>> {
        self.run_for(settings.reachable(), &settings.jwt, &settings.database)
    }

    fn run_for<'a>(
        &'a self,
        address: SocketAddr,
        jwt: &'a JwtSettings,
        database: &'a Path,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self {
                Self::Healthcheck => healthcheck(address).await,
                Self::Adopt => adopt(&AdminClient::new(address, jwt)?).await,
                Self::Token(token) => token.print(&Tokens::new(jwt)?),
                Self::DeadLetters(command) => command.run(&AdminClient::new(address, jwt)?).await,
                Self::Backup(backup) => backup.run(database).await,
            }
        })
    }
}

/// `/readyz` of the service on this machine answers 200.
async fn healthcheck(address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}/readyz");
    let client = reqwest::Client::builder().timeout(HEALTHCHECK_TIMEOUT).no_proxy().build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("ask {url}"))?;
    if !answer.status().is_success() {
        bail!("{url} answered {}: {}", answer.status(), answer.text().await.unwrap_or_default());
    }
    Ok(())
}

/// Has the service adopt, and prints what was done.
async fn adopt(client: &AdminClient) -> Result<()> {
    let answer = client.call(Method::POST, PATH).await?;
    let detail = answer["detail"].as_str().unwrap_or_default();
    writeln!(stdout(), "{detail}").context("write to standard output")
}

/// The help of `adopt`, for a service that gets back what it missed in this way.
pub fn explain_adopt(command: clap::Command, healing: Healing) -> clap::Command {
    let healed = healing.effect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    command.long_about(format!(
        "{about}\n\n\
         For a service that is not ready because its consumer belongs to another database, or to a later state of \
         the same one: after the file was lost, replaced or restored from a backup. {healed}\n\n{WARNING}"
    ))
}
