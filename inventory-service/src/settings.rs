//! The inventory service's settings: its own, and its defaults of those that every service has.

use std::path::PathBuf;

use clap::{Args, Parser};
use shared::broker::adoption::Healing;
use shared::operations::commands::{Command, explain_adopt};
use shared::settings::{ServiceSettings, any_path};

/// Takes stock for orders or refuses, and answers over NATS.
#[derive(Debug, Parser)]
#[command(
    version,
    mut_arg("port", |port| port.default_value("3001")),
    mut_arg("database", |database| database.default_value("db/inventory.db")),
    mut_arg("nats_user", |user| user.default_value("inventory")),
    mut_arg("nats_password", |password| password.default_value("inventory-demo-password")),
    mut_subcommand("adopt", |command| explain_adopt(command, HEALING))
)]
pub struct Cli {
    /// Without one, the service runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub settings: Settings,
}

/// What `adopt` brings back.
pub const HEALING: Healing = Healing::DecideAgain;

/// Everything that can be set.
pub type Settings = ServiceSettings<OwnSettings>;

/// What only this service has.
#[derive(Debug, Clone, Args)]
pub struct OwnSettings {
    /// JSON file of the first stock, such as `[{"productId":"1","stock":10}]`; each product is seeded once
    ///
    /// Without it, or when it is empty, product 1 starts with 10 and product 2 with 5.
    #[arg(long, env, value_parser = any_path())]
    pub seed_file: Option<PathBuf>,
}
