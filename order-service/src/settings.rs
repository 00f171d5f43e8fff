//! The order service's settings and commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::{
    operations::commands::{backup::BackupCommand, dead_letters::DeadLettersCommand, token::TokenCommand},
    settings::{JwtSettings, LogSettings, NatsSettings, ServerSettings},
};

/// Accepts orders over HTTP and settles them with the inventory's answers over NATS.
#[derive(Debug, Parser)]
#[command(version, mut_arg("nats_user", |arg| arg.default_value("order")),
    mut_arg("nats_password", |arg| arg.default_value("order-demo-password")))]
pub struct Cli {
    /// Without one, the service runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub settings: Settings,
}

/// The small tools of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the service on this machine whether it is ready; exit 0 or 1
    Healthcheck,
    /// Make the consumer at the broker belong to the database of the service on this machine
    ///
    /// For a service that is not ready because its consumer belongs to another database, or to a later state of the same one:
    /// after the file was lost, replaced or restored from a backup. All pending orders are then sent again, and the inventory
    /// repeats the answers that it has.
    ///
    /// The other database must be stopped for good. What only it knows and the stream no longer holds may be decided a second
    /// time; a second answer that differs shows as the dead letter conflicting_result at the order service.
    Adopt,
    /// Print a token signed with JWT_SECRET or JWT_SECRET_FILE
    Token(TokenCommand),
    /// List, show, redrive or discard the dead letters of the service on this machine
    DeadLetters(DeadLettersCommand),
    /// Write a consistent copy of DATABASE, also while the service runs
    Backup(BackupCommand),
}

/// Everything that can be set.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Port to listen on; 0 takes a free one
    #[arg(long, env, default_value_t = 3000, global = true)]
    pub port: u16,
    /// The SQLite file; its folder is created
    #[arg(long, env, default_value = "db/order.db", global = true)]
    pub database: PathBuf,
    /// Orders that may wait for a commit; further ones are answered 503
    #[arg(long, env, default_value_t = 4096, value_parser = queue_size)]
    pub queue_size: usize,
    #[command(flatten)]
    pub server: ServerSettings,
    #[command(flatten)]
    pub jwt: JwtSettings,
    #[command(flatten)]
    pub nats: NatsSettings,
    #[command(flatten)]
    pub log: LogSettings,
}

fn queue_size(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(size @ 1..=1_000_000) => Ok(size),
        _ => Err("must be a whole number from 1 to 1000000".to_owned()),
    }
}
