//! The small tools of a service's binary.

pub mod adopt;
pub mod backup;
pub mod dead_letters;
pub mod healthcheck;
pub mod token;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::backup::BackupCommand;
use self::dead_letters::DeadLettersCommand;
use self::token::TokenCommand;
use crate::http::auth::Tokens;
use crate::operations::admin_client::AdminClient;
use crate::settings::ServiceSettings;

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
    pub async fn run<Own: Args>(&self, settings: &ServiceSettings<Own>) -> Result<()> {
        let (address, jwt) = (settings.reachable(), &settings.jwt);
        match self {
            Self::Healthcheck => healthcheck::healthcheck(address).await,
            Self::Adopt => adopt::command(&AdminClient::new(address, jwt)?).await,
            Self::Token(token) => token.print(&Tokens::new(jwt)?),
            Self::DeadLetters(command) => command.run(&AdminClient::new(address, jwt)?).await,
            Self::Backup(backup) => backup.run(&settings.database).await,
        }
    }
}
