//! The order service's settings: its own, and its defaults of those that every service has.

use clap::{Args, Parser};
use shared::broker::adoption::Healing;
use shared::operations::commands::{Command, explain_adopt};
use shared::settings::ServiceSettings;

/// Accepts orders over HTTP and settles them with the inventory's answers over NATS.
#[derive(Debug, Parser)]
#[command(
    version,
    mut_arg("port", |port| port.default_value("3000")),
    mut_arg("database", |database| database.default_value("db/order.db")),
    mut_arg("nats_user", |user| user.default_value("order")),
    mut_arg("nats_password", |password| password.default_value("order-demo-password")),
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
pub const HEALING: Healing = Healing::SendAgain;

/// Everything that can be set.
pub type Settings = ServiceSettings<OwnSettings>;

/// What only this service has.
#[derive(Debug, Clone, Args)]
pub struct OwnSettings {
    /// Orders that may wait for a commit; further ones are answered 503
    #[arg(long, env, default_value_t = 4096, value_parser = queue_size)]
    pub queue_size: usize,
}

fn queue_size(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(size @ 1..=1_000_000) => Ok(size),
        _ => Err("must be a whole number from 1 to 1000000".to_owned()),
    }
}
