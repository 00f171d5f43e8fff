//! The inventory service's settings and commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::{
    operations::commands::{backup::BackupCommand, dead_letters::DeadLettersCommand, token::TokenCommand},
    settings::{JwtSettings, LogSettings, NatsSettings, ServerSettings, any_path},
};

/// Takes stock for orders or refuses, and answers over NATS.
#[derive(Debug, Parser)]
#[command(version, mut_arg("nats_user", |arg| arg.default_value("inventory")),
    mut_arg("nats_password", |arg| arg.default_value("inventory-demo-password")))]
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
    /// after the file was lost, replaced or restored from a backup. Everything that the stream still
    /// holds (7 days) is then decided again in its order: what this database knows is a repeat, what it lost is decided again.
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
    #[arg(long, env, default_value_t = 3001, global = true)]
    pub port: u16,
    /// The SQLite file; its folder is created
    #[arg(long, env, default_value = "db/inventory.db", global = true)]
    pub database: PathBuf,
    /// JSON file of the first stock, such as `[{"productId":"1","stock":10}]`; each product is seeded once
    ///
    /// Without it, or when it is empty, product 1 starts with 10 and product 2 with 5.
    #[arg(long, env, value_parser = any_path())]
    pub seed_file: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerSettings,
    #[command(flatten)]
    pub jwt: JwtSettings,
    #[command(flatten)]
    pub nats: NatsSettings,
    #[command(flatten)]
    pub log: LogSettings,
}
